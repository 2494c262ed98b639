"""Settings of the first version: translated where they were renamed, skipped by name where they are gone."""

import copy

import pytest
import yaml
from first_version import EARLIER, OLD

from cyclic.config import RunConfig, load_config, read_stored, read_stored_strictly
from cyclic.errors import InputError
from cyclic.pseudo.recipe import RECIPES
from cyclic.retired import RECIPE_KEYS, modernise


def old(**sections):
    """The first version's settings with these keys of its sections."""
    content = copy.deepcopy(OLD)
    for name, keys in sections.items():
        content[name] = content[name] | keys if isinstance(keys, dict) else keys
    return content


PAPER = {
    "source": "activation", "threshold_method": "range", "threshold": 0.1, "factors": [1.0], "split": False,
    "max_hole": 0, "rank_by": "solidity", "hull": True, "pool": False, "negative_tiles": False, "share": None,
    "count": 20,
}  # fmt: skip


def test_the_first_versions_recommended_settings_have_names_of_today():
    assert read_stored_strictly(OLD, "run") == (load_config((), EARLIER), [])


def test_renamed_keys_keep_their_values():
    content = old(
        segmenter={"steps": 7, "pyramid_channels": 256, "rpn_channels": 512, "mask_channels": 256, "fc_size": 1024},
        detection={"box_nms_threshold": 0.25, "nms_threshold": 0.35},
    )
    config = read_stored(content, "run")
    assert config.mask_rcnn.steps == 7 and config.mask_rcnn.width == "matterport"
    assert (config.detection.box_iou, config.detection.mask_iou) == (0.25, 0.35)


def test_widths_without_a_name_stay_numbers():
    content = old(segmenter={"pyramid_channels": 16, "rpn_channels": 8, "mask_channels": 4, "fc_size": 2})
    assert read_stored(content, "run").mask_rcnn.widths == (16, 8, 4, 2)


def test_keys_of_the_paper_are_its_recipe():
    config, lost = read_stored_strictly(old(pseudo=PAPER), "run")
    assert config.pseudo.recipe == "paper" and config.pseudo.count == 20 and lost == []


def test_the_translation_knows_the_recipes():
    for name, keys in RECIPE_KEYS.items():
        recipe = RECIPES[name]
        assert (keys["source"], keys["split"], keys["max_hole"]) == (recipe.source, recipe.split, recipe.max_hole)
        assert (keys["rank_by"], keys["hull"], keys["pool"]) == (recipe.rank_by, recipe.hull, recipe.pooled)
        assert recipe.threshold == ("otsu" if keys["threshold_method"] == "otsu" else keys["threshold"])


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"pseudo": {"agreement": True}}, "pseudo.agreement"),
        ({"pseudo": {"pool": False}}, "pseudo.pool"),
        ({"pseudo": {"negative_tiles": False}}, "pseudo.negative_tiles"),
        ({"pseudo": PAPER | {"hull": False}}, "pseudo.hull"),
        ({"segmenter": {"fade": 0.3}}, "mask_rcnn.fade"),
        ({"tiles": {"balance": False}}, "tiles.balance"),
        ({"evaluate": False}, "evaluate"),
    ],
)
def test_what_this_version_cannot_follow_is_named(sections, key):
    assert read_stored_strictly(old(**sections), "run")[1] == [key]


def test_without_answers_there_were_no_negative_tiles_to_trust():
    content = old(supervision="none", pseudo={"negative_tiles": False})
    assert read_stored_strictly(content, "run")[1] == []


def test_a_key_that_a_stored_file_lacks_means_what_it_meant_then():
    content = old()
    for key in ("shape_power", "max_area_ratio", "score"):
        del content["detection"][key]
    del content["rounds"]["ignore_score"]
    config = read_stored(content, "run")
    assert (config.detection.shape_power, config.detection.max_area_ratio, config.detection.score) == (0.0, None, 0.5)
    assert config.rounds.ignore_score == 0.3 and config.detection.min_area_share == 0.25


def test_todays_settings_pass_through():
    content = RunConfig(cycles=3).model_dump(mode="json")
    assert modernise(content) == (content, [], [])
    assert read_stored({"detection": {"score": 0.4}}, "run").detection.shape_power == RunConfig().detection.shape_power


def test_nothing_given_is_changed():
    content, before = old(), old()
    modernise(content)
    assert content == before


@pytest.mark.parametrize("content", [None, [1], "text", {"a": 1}, {"pseudo": 3}, {"segmenter": 3}, {"segmenter": None}])
def test_no_settings_at_all(content):
    with pytest.raises(InputError, match="^file"):
        read_stored(content, "file")


def test_a_users_file_of_the_first_version_runs_with_a_warning(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"segmenter": {"crop": 64, "warmup": 0}, "pseudo": {"source": "activation"}}))
    with pytest.warns(UserWarning, match=r"mine.yaml: keys of an earlier version.*segmenter, mask_rcnn.warmup"):
        config = load_config(path)
    assert config.mask_rcnn.crop == 64 and config.pseudo.recipe == "paper"


def test_a_key_whose_value_is_fixed_now_says_what_it_always_is(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("mask_rcnn: {warmup: 0, max_instances: 128}\npseudo: {recipe: paper, split: true, closing: 3}\n")
    with pytest.warns(UserWarning) as warned:
        load_config(path)
    message = str(warned[0].message)
    assert "mask_rcnn.warmup is now always 50" in message and "pseudo.split is now always false" in message
    # These two change nothing: one has the value that is fixed now, the other never mattered.
    assert "mask_rcnn.max_instances," in message and "pseudo.closing," in message and message.count("always") == 2
    with pytest.warns(UserWarning, match=r"--set: .*maps\.flips is now always false"):
        load_config((), ["maps.flips=true"])


def test_old_and_new_names_on_top_of_each_other(tmp_path):
    (tmp_path / "new.yaml").write_text("mask_rcnn: {crop: 128, steps: 5}\n")
    (tmp_path / "old.yaml").write_text("segmenter: {crop: 64}\n")
    with pytest.warns(UserWarning, match=r"old\.yaml"):
        config = load_config([tmp_path / "new.yaml", tmp_path / "old.yaml"])
    assert (config.mask_rcnn.crop, config.mask_rcnn.steps) == (64, 5)
    with pytest.warns(UserWarning, match="--set"):
        assert load_config(tmp_path / "new.yaml", ("segmenter.crop=192",)).mask_rcnn.crop == 192
    with pytest.warns(UserWarning, match=r"--set: .*pseudo\.negative_tiles"):
        assert load_config((), ("pseudo.recipe=paper", "pseudo.negative_tiles=false")).pseudo.recipe == "paper"
