"""The run configuration: defaults, files on top of each other, overrides, and what is refused and how."""

import json
import pathlib
import warnings

import pytest
import yaml

from cyclic.config import RunConfig, load_config, merge_overrides, sections_of, validate
from cyclic.errors import InputError
from cyclic.pseudo.recipe import recipe_of

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_warning():
    """Only files of an earlier version warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def flat(config):
    return {
        f"{name}.{key}": inner
        for name, value in config.model_dump().items()
        for key, inner in (value if isinstance(value, dict) else {"": value}).items()
    }


def test_defaults_are_valid_and_survive_yaml(tmp_path):
    config = load_config()
    assert config == RunConfig()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    assert load_config(tmp_path / "config.yaml") == config


def test_every_key_says_what_it_does():
    fields = [field for section in sections_of(RunConfig).values() for field in section.model_fields.values()]
    fields += [field for name, field in RunConfig.model_fields.items() if name not in sections_of(RunConfig)]
    assert 40 < len(fields) <= 75
    assert all(field.description and field.description.endswith(".") for field in fields)


@pytest.mark.parametrize("path", sorted([*(ROOT / "configs").glob("*.yaml"), ROOT / "cyclic/cli/demo.yaml"]))
def test_shipped_configurations_are_valid(path):
    load_config(path)


@pytest.mark.parametrize(
    ("kind", "base", "name", "own"),
    [
        ("cpu", "cpu", "monusac", {"detection.usual_area"}),
        ("cpu", "cpu", "ccrcc", {"detection.tile"}),
        ("cpu", "cpu", "consep", {"mean_pixel.", "pseudo.max_area"}),
        ("paper", "paper", "monusac", set()),
        ("paper", "paper", "ccrcc", {"backbone.name", "cycles.", "mask_rcnn.steps", "pseudo.count"}),
        (
            "paper",
            "paper",
            "consep",
            {"backbone.name", "classifier.later_steps", "mask_rcnn.steps", "mask_rcnn.later_steps", "mean_pixel."},
        ),
    ],
)
def test_data_sets_share_one_base_but_for_what_their_images_ask_for(kind, base, name, own):
    first = flat(load_config(ROOT / "configs" / f"{base}.yaml"))
    second = flat(load_config(ROOT / "configs" / f"{name}_{kind}.yaml"))
    assert {key for key in first if first[key] != second[key]} == own


def test_later_file_beats_earlier_and_override_beats_both(tmp_path):
    below, above = tmp_path / "below.yaml", tmp_path / "above.yaml"
    below.write_text("mask_rcnn:\n  steps: 10\n  batch: 3\ncycles: 2\n")
    above.write_text("mask_rcnn:\n  steps: 15\n  crop: 64\n")
    config = load_config([below, above], ("mask_rcnn.crop=128", "classifier.levels=[C2, C5]", "backbone.weights=null"))
    assert (config.mask_rcnn.steps, config.mask_rcnn.batch, config.mask_rcnn.crop) == (15, 3, 128)
    assert config.cycles == 2 and config.mask_rcnn.later_steps == RunConfig().mask_rcnn.later_steps
    assert config.classifier.levels == ["C2", "C5"] and config.backbone.weights is None
    assert load_config(below).mask_rcnn.steps == 10


def test_a_file_names_the_file_below_it(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "base.yaml").write_text("cycles: 2\nmask_rcnn: {steps: 10}\n")
    (tmp_path / "inner/middle.yaml").write_text("base: ../base.yaml\nseed: 4\n")
    (tmp_path / "top.yaml").write_text("base: inner/middle.yaml\nmask_rcnn: {crop: 64}\n")
    config = load_config(tmp_path / "top.yaml")
    assert (config.cycles, config.seed, config.mask_rcnn.steps, config.mask_rcnn.crop) == (2, 4, 10, 64)


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("top.yaml", "name another"),
        ("middle.yaml", "name another"),
        ("none.yaml", "which is no file"),
        ("[1]", "name ano"),
    ],
)
def test_a_base_that_is_none(tmp_path, base, message):
    (tmp_path / "middle.yaml").write_text("base: top.yaml\n")
    (tmp_path / "top.yaml").write_text(f"base: {base}\n")
    with pytest.raises(InputError, match=message):
        load_config(tmp_path / "top.yaml")


def test_a_missing_base_is_named_with_the_file_that_names_it(tmp_path):
    (tmp_path / "middle.yaml").write_text("base: gone.yaml\n")
    (tmp_path / "top.yaml").write_text("base: middle.yaml\n")
    with pytest.raises(InputError, match=r"middle\.yaml: base names .*gone\.yaml, which is no file; correct the path"):
        load_config(tmp_path / "top.yaml")


def test_a_message_names_what_set_the_wrong_value(tmp_path):
    below, above = tmp_path / "below.yaml", tmp_path / "above.yaml"
    below.write_text("cycles: 0\ndetection: {tile: 64}\nclassifier: {levels: [C9]}\n")
    above.write_text("base: below.yaml\nseed: 1\n")
    with pytest.raises(InputError, match=r"^[^,]*below\.yaml: cycles = 0"):
        load_config(above)
    with pytest.raises(InputError, match=r"^[^,]*below\.yaml: classifier\.levels\.0 = 'C9'"):
        load_config(above, ["cycles=1"])
    with pytest.raises(InputError, match="^--set: cycles = -1"):
        load_config(above, ["cycles=-1"])
    with pytest.raises(InputError, match="^--set: unknown key cycels"):
        load_config((), ["cycels=1"])
    with pytest.raises(InputError, match="^--set: cycles = -1"):
        load_config((), ["cycles=-1"])
    more = ["cycles=1", "classifier.levels=[C2]"]
    with pytest.raises(InputError, match=r"^[^,]*below\.yaml: detection\.overlap has to be smaller"):
        load_config(above, more)
    with pytest.raises(InputError, match=r"^--set, [^,]*below\.yaml: detection\.overlap has to be smaller"):
        load_config(above, [*more, "detection.overlap=80"])
    with pytest.raises(InputError, match=r"^--set: mask_rcnn\.crop has to be divisible by 64; correct"):
        load_config(above, [*more, "detection.tile=128", "mask_rcnn.crop=65"])


def test_widths_have_names_or_numbers():
    assert load_config((), ("mask_rcnn.width=matterport",)).mask_rcnn.widths == (256, 512, 256, 1024)
    assert load_config((), ("mask_rcnn.width=[16, 8, 4, 2]",)).mask_rcnn.widths == (16, 8, 4, 2)
    assert load_config((), ("mask_rcnn.width=[128, 128, 128, 512]",)) == load_config()


def test_a_file_that_sets_nothing_means_defaults_but_an_empty_one_was_lost(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("# nothing\n")
    assert load_config(path) == RunConfig()
    for text in ("", " \n"):
        path.write_text(text)
        with pytest.raises(InputError, match="config.yaml: empty; write the file again"):
            load_config(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pseudo.share=1.5", "pseudo.share = 1.5: Input should be less than or equal to 1"),
        ("pseudo.share=-0.1", "pseudo.share = -0.1"),
        ("rounds.score=2", "rounds.score = 2"),
        ("rounds.count=-1", "rounds.count = -1"),
        ("cycles=0", "cycles = 0"),
        ("classifier.levels=[C9]", "classifier.levels.0 = 'C9'"),
        ("pseudo.factors=[]", "pseudo.factors"),
        ("mask_rcnn.width=huge", "mask_rcnn.width"),
        ("mask_rcnn.width=[1, 2]", "mask_rcnn.width"),
        ("seed=many", "seed = 'many'"),
        ("mask_rcnn.step=3", "unknown key mask_rcnn.step; did you mean mask_rcnn.steps?"),
        ("mask_rcn.steps=3", "unknown key mask_rcn; did you mean mask_rcnn?"),
        ("steps=3", "unknown key steps; did you mean classifier.steps or mask_rcnn.steps?"),
        ("detection.cycles_of=3", "unknown key detection.cycles_of; valid keys: tile, overlap"),
        ("mask_rcnn.steps", "write it as section.key=value"),
        ("=3", "write it as section.key=value"),
        ("mask_rcnn.steps.more=3", "mask_rcnn.steps"),
        ("mask_rcnn.steps=[", "not valid YAML"),
        ("detection.overlap=576", "detection.overlap has to be smaller than detection.tile"),
        ("mask_rcnn.crop=200", "mask_rcnn.crop has to be divisible by 64"),
        ("maps.level=C4", "maps.level has to be one of classifier.levels"),
        ("rounds.ignore_score=0.9", "rounds.ignore_score must not exceed rounds.score"),
        ("pseudo.max_area=10", "pseudo.min_area must not exceed pseudo.max_area"),
        ("mask_rcnn.crop=64000", "mask_rcnn.crop = 64000: Input should be less than or equal to 4096"),
        ("mask_rcnn.anchor_scales=[16, 32, 64]", "mask_rcnn.anchor_scales"),
        ("mask_rcnn.anchor_scales=[8, 16, 32, 64, 128, 256]", "mask_rcnn.anchor_scales"),
        ("mask_rcnn.anchor_scales=[]", "mask_rcnn.anchor_scales"),
        ("mask_rcnn.anchor_scales=[192, 96, 48, 24]", "each has to be larger than the one before"),
        ("mask_rcnn.anchor_scales=[0, 32, 64, 128, 256]", "mask_rcnn.anchor_scales.0 = 0"),
        ("mask_rcnn.anchor_scales=[16, 32, -64, 128, 256]", "mask_rcnn.anchor_scales.2 = -64"),
        ("mask_rcnn.width=[8, 8, 8, 100000]", "mask_rcnn.width"),
        ("mask_rcnn.rois=1000000000", "mask_rcnn.rois = 1000000000"),
        ("mask_rcnn.learning_rate=.inf", "mask_rcnn.learning_rate = inf"),
        ("classifier.later_learning_rate=3", "classifier.later_learning_rate = 3"),
        ("classifier.levels=[C3, C5, C3]", "classifier.levels = ['C3', 'C5', 'C3']: Value error, a level stands twice"),
        ("classifier.levels=[]", "classifier.levels = []"),
        ("classifier.zoom=1", "classifier.zoom = 1"),
        ("classifier.stain_jitter=.inf", "classifier.stain_jitter = inf"),
        ("pseudo.count=0", "pseudo.count = 0"),
        ("pseudo.count=.inf", "pseudo.count = inf"),
        ("pseudo.factors=[1, .inf]", "pseudo.factors.1 = inf"),
        ("detection.usual_area=.inf", "detection.usual_area = inf"),
        ("detection.max_area_ratio=.nan", "detection.max_area_ratio = nan"),
        ("detection.score=.nan", "detection.score = nan"),
        ("detection.shape_power=.inf", "detection.shape_power = inf"),
        ("detection.tile=64000", "detection.tile = 64000"),
        ("mean_pixel=[.nan, 1, 2]", "mean_pixel.0 = nan"),
        ("mean_pixel=[1, 2, 256]", "mean_pixel.2 = 256"),
        ("seed=-1", "seed = -1"),
        ("seed=4294967296", "seed = 4294967296"),
        ("scale=100", "scale = 100"),
        ("cycles=true", "cycles = True: Value error, true and false are no value of this key"),
        ("mask_rcnn.learning_rate=yes", "mask_rcnn.learning_rate = True"),
        ("mask_rcnn={steps: 3, steps: 4}", "not valid YAML"),
        (
            "backbone={weights: coco, norm: frozen}",
            "backbone.weights coco are not of backbone.name resnet18 with backbone.norm frozen; correct one of them",
        ),
        ("backbone={weights: imagenet, name: vgg16, norm: batch}", "backbone.weights imagenet are not of"),
    ],
)
def test_wrong_override_is_named_in_one_line(override, message):
    for change in (lambda: load_config((), (override,)), lambda: merge_overrides(RunConfig(), (override,))):
        with pytest.raises(InputError) as error:
            change()
        assert message in str(error.value) and "\n" not in str(error.value)


def test_a_value_and_a_section_of_one_name():
    with pytest.raises(InputError, match="mask_rcnn holds a value, not further keys"):
        load_config((), ("mask_rcnn=3", "mask_rcnn.steps=3"))


def test_without_a_classifier_there_is_no_map_to_follow():
    with pytest.raises(InputError, match="supervision none has no activation map: it needs another"):
        load_config((), ("supervision=none", "pseudo.recipe=paper"))
    assert not recipe_of(load_config((), ("supervision=none",))).reads_activation
    assert recipe_of(load_config()).reads_activation
    # The upper bound makes no pseudo masks, so its recipe decides nothing.
    load_config((), ("supervision=instance", "pseudo.recipe=paper"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mask_rcnn: {steps: 0}", "mask_rcnn.steps = 0"),
        ("a: [", "not valid YAML"),
        ("- a\n- b", "a mapping of keys"),
        ("mask_rcnn:", "mask_rcnn = None"),
        ("cycles: 2\nseed: 1\ncycles: 3", "key cycles stands twice"),
        ("mask_rcnn:\n  steps: 1\n  steps: 1", "key steps stands twice"),
        ("cycles: 010", "010 is no plain number; write it without leading zeros"),
        ("mpp: 1:30", "1:30 is no plain number"),
    ],
)
def test_wrong_file_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}") as error:
        load_config(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_file():
    with pytest.raises(InputError, match="nowhere.yaml: no such configuration file"):
        load_config("nowhere.yaml")


def test_binary_file(tmp_path):
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(tmp_path / "config.yaml")


def test_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 3


def test_validate_names_its_source():
    with pytest.raises(InputError, match="^run.h5: cycles"):
        validate({"cycles": "two"}, "run.h5")


def test_overrides_of_a_finished_configuration():
    config = RunConfig(cycles=3)
    assert merge_overrides(config, ()) == config
    changed = merge_overrides(config, ("detection.score=0.5",))
    assert changed.detection.score == 0.5 and changed.cycles == 3
    assert json.loads(changed.model_dump_json())["cycles"] == 3
