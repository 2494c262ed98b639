"""The comparison of two runs, array by array."""

import json
import shutil

import h5py
import pinned_run
import tifffile

from cyclic.config import read_stored_strictly
from cyclic.mrcnn.weights.h5 import add_part, save_weights
from cyclic.networks import CLASSIFIER


def small_model():
    import keras

    image = keras.Input((4,))
    return keras.Model(image, keras.layers.Dense(2, name="fc")(image))


def test_a_copy_is_equal_and_one_changed_pixel_or_weight_is_found(fake_run, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(fake_run.run, first)
    save_weights(first / "best.weights.h5", small_model())
    shutil.copytree(first, second)
    digests = pinned_run.digest_run(first)
    assert digests == pinned_run.digest_run(second) and "best.weights.h5" in digests and "scores 0" in digests
    with h5py.File(second / "best.weights.h5", "r+") as file:
        file["fc"]["fc/kernel:0"][0, 0] += 1e-6
    path = next(second.rglob("predictions/*.tif"))
    labels = tifffile.imread(path)
    labels[0, 0] += 1
    tifffile.imwrite(path, labels)
    changed = pinned_run.digest_run(second)
    assert {name for name in digests if digests[name] != changed[name]} == {
        "best.weights.h5",
        str(path.relative_to(second)),
    }


def test_the_classifier_in_the_finished_file_is_left_out(fake_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(fake_run.run, run)
    save_weights(run / "best.weights.h5", small_model())
    before = pinned_run.digest_run(run)
    save_weights(tmp_path / "classifier.h5", small_model())
    add_part(run / "best.weights.h5", CLASSIFIER, tmp_path / "classifier.h5")
    assert pinned_run.digest_run(run) == before


def test_scores_of_maps_are_left_out(fake_run):
    scores = [name for name in pinned_run.digest_run(fake_run.run) if name.startswith("scores")]
    rows = json.loads((fake_run.run / "metrics.json").read_text())["rows"]
    assert len(scores) == len([row for row in rows if "aji" in row]) < len(rows)


def test_where_a_file_keeps_a_layer_does_not_matter(tmp_path):
    save_weights(tmp_path / "a.weights.h5", small_model())
    with h5py.File(tmp_path / "a.weights.h5") as old, h5py.File(tmp_path / "b.weights.h5", "w") as new:
        old.copy("fc", new.create_group("nested"))
    first, second = (list(map(bytes, pinned_run._weights(tmp_path / f"{name}.weights.h5"))) for name in "ab")
    assert first == second


def test_both_recipes_are_read_whole():
    import yaml

    recipes = [read_stored_strictly(yaml.safe_load(path.read_text()), path) for path in pinned_run.RECIPES.values()]
    assert [(config.pseudo.recipe, lost) for config, lost in recipes] == [("paper", []), ("stain", [])]
