"""Settings of earlier versions: what they are called now, and which are gone.

Weights files and run directories carry the settings that they were made with. They stay readable: what was renamed is
translated, what was removed is known by name and skipped.
"""

import copy

# Sections and keys that have another name now.
RENAMED = {
    "segmenter": "mask_rcnn",
    "detection.box_nms_threshold": "detection.box_iou",
    "detection.nms_threshold": "detection.mask_iou",
}
WIDTH_KEYS = ("pyramid_channels", "rpn_channels", "mask_channels", "fc_size")
ANY = object()
# Keys that were removed, and the value that the program now works as; ANY where the value decides nothing.
REMOVED: dict[str, object] = {
    "evaluate": True,
    "tiles.min_coverage": 0.1,
    "tiles.max_coverage_negative": 0.0,
    "tiles.balance": True,
    "classifier.weight_decay": ANY,
    "classifier.held_out": 0.1,
    "maps.flips": False,
    "maps.tile": 256,
    "maps.overlap": 64,
    "maps.average": ANY,
    "pseudo.agreement": False,
    "pseudo.closing": ANY,
    "pseudo.min_confidence": None,
    "pseudo.ignore": True,
    "pseudo.min_activation": 0.0,
    "pseudo.background": 0.0,
    "pseudo.ignore_rest": False,
    "mask_rcnn.steps_per_epoch": ANY,
    "mask_rcnn.schedule": ANY,
    "mask_rcnn.warmup": 50,
    "mask_rcnn.weight_decay": 1e-4,
    "mask_rcnn.max_instances": 128,
    "mask_rcnn.fade": 0.0,
    "mask_rcnn.zoom": 0.0,
    "mask_rcnn.gt_proposals": True,
}
# Keys that `pseudo.recipe` stands for now, with the values of each recipe.
RECIPE_KEYS: dict[str, dict[str, object]] = {
    "stain": {
        "source": "hematoxylin",
        "threshold_method": "otsu",
        "threshold": None,
        "split": True,
        "max_hole": 800,
        "rank_by": "confidence",
        "hull": False,
        "pool": True,
        "negative_tiles": True,
    },
    "paper": {
        "source": "activation",
        "threshold_method": "range",
        "threshold": 0.1,
        "split": False,
        "max_hole": 0,
        "rank_by": "solidity",
        "hull": True,
        "pool": False,
        "negative_tiles": False,
    },
}
# What a file of the first version means where it lacks a key that has another default now.
FIRST_DEFAULTS: dict[str, dict[str, object]] = {
    "detection": {
        "max_instances": 300,
        "score": 0.5,
        "box_iou": 0.3,
        "shape_power": 0.0,
        "mask_margin": 0.0,
        "min_area_share": 0.0,
        "max_area_ratio": None,
    },
    "rounds": {"ignore_score": 0.3},
}
# What stored settings mean that lack keys of the local classifier.
POOLED_DEFAULTS: dict[str, dict[str, object]] = {
    "tiles": {"count": None},
    "classifier": {"share": 1.0, "feedback": False, "levels": ["C3", "C5"], "stain_jitter": 0.05},
    "maps": {"method": "gradcam", "level": "C3"},
    "pseudo": {"recipe": "stain"},
}

# Keys that came later, with the value that runs without them mean.
LATER: dict[str, object] = {"tiles.answers": None}


def modernise(content: dict) -> tuple[dict, list[str], list[str]]:
    """Return settings of any version as settings of this one.

    Args:
        content: nested settings, as YAML or JSON holds them. Left as it is.

    Returns:
        The settings; the keys that were renamed or removed, under their old names; and those among them that were set
        to something that this version cannot do.
    """
    content = copy.deepcopy(content)
    old: list[str] = []
    lost: list[str] = []
    for before, after in RENAMED.items():
        if (value := _take(content, before)) is not ANY:
            old.append(before)
            _put(content, after, value)
    for key, value in REMOVED.items():
        if (given := _take(content, key)) is not ANY:
            old.append(key)
            if value is not ANY and given != value:
                lost.append(key)
    _name_width(content, old)
    _name_recipe(content, old, lost)
    return content, old, lost


def fixed_value(content: dict, key: str) -> object:
    """Return what a removed key is always now, in settings of this version; `modernise` names such keys."""
    if key in REMOVED:
        return REMOVED[key]
    return RECIPE_KEYS[content["pseudo"].get("recipe", "stain")][key.removeprefix("pseudo.")]


def is_first_version(content: dict) -> bool:
    """Whether version 0.1 wrote these settings."""
    return "segmenter" in content


def fill_earlier_defaults(content: dict, first: bool) -> dict:
    """Return stored settings with what earlier versions meant by keys that they lack.

    Args:
        content: what `modernise` made of stored settings.
        first: whether the first version wrote them.
    """
    known = [FIRST_DEFAULTS] if first else []
    classifier = content.get("classifier", {})
    if isinstance(classifier, dict) and "share" not in classifier:
        known.append(POOLED_DEFAULTS)
    for section, meant in (item for defaults in known for item in defaults.items()):
        given = content.get(section, {})
        # What is no section is left for the checks of `RunConfig`.
        content = content | {section: meant | given if isinstance(given, dict) else given}
    return content


def _name_width(content: dict, old: list[str]) -> None:
    section = content.get("mask_rcnn")
    if not isinstance(section, dict) or not any(key in section for key in WIDTH_KEYS):
        return
    usual = (128, 128, 128, 512)
    old += [f"mask_rcnn.{key}" for key in WIDTH_KEYS if key in section]
    section["width"] = [section.pop(key, default) for key, default in zip(WIDTH_KEYS, usual, strict=True)]


def _name_recipe(content: dict, old: list[str], lost: list[str]) -> None:
    section = content.get("pseudo")
    if not isinstance(section, dict):
        return
    keys = [key for key in RECIPE_KEYS["stain"] if key in section]
    given = {key: section.pop(key) for key in keys}
    if "source" in given:
        section.setdefault("recipe", "paper" if given["source"] == "activation" else "stain")
    old += [f"pseudo.{key}" for key in keys]
    fixed = RECIPE_KEYS.get(section.get("recipe", "stain"), {})
    supervised_by_tiles = content.get("supervision", "image") == "image"
    for key, value in given.items():
        # Without tiles there are no negative ones.
        if fixed.get(key) != value and not (key == "negative_tiles" and not value and not supervised_by_tiles):
            lost.append(f"pseudo.{key}")


def _take(content: dict, key: str) -> object:
    """Remove `section.key` or `key` from `content` and return its value; ANY where it is not there."""
    *sections, last = key.split(".")
    for section in sections:
        content = content.get(section, {})
        if not isinstance(content, dict):
            return ANY
    return content.pop(last, ANY)


def _put(content: dict, key: str, value: object) -> None:
    """Set `section.key` or `key`; where it has a value under the new name already, that one counts."""
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
    new = content.get(last, value)
    content[last] = value | new if isinstance(value, dict) and isinstance(new, dict) else new
