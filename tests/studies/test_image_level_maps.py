"""The comparison of maps: its attention network, and that the command is one table and goes on where it was."""

import json

import image_level_maps
import numpy as np
import pytest
import run_list
import scale_attention

from cyclic.datasets.synthetic import write_tissue_set
from cyclic.errors import InputError

SMALL = {
    "scale": 1,
    "precision": "float32",
    "tiles": {"size": 32, "stride": 24},
    "classifier": {"steps": 2, "batch": 4},
    "mask_rcnn": {
        "width": [16, 16, 16, 16], "crop": 64, "batch": 1, "steps": 2, "rpn_anchors": 16, "rois": 8, "proposals": 32
    },
    "detection": {"tile": 64, "overlap": 16, "proposals": 32, "max_instances": 16},
}  # fmt: skip


def test_a_share_of_the_pixels_is_marked():
    rng, marks = np.random.default_rng(0), scale_attention.Marks()
    for _ in range(60):  # the threshold comes near what it follows
        confidence = rng.normal(2, 3, (4, 40, 40, 1)).astype(np.float32)
        marked = np.asarray(marks(confidence, training=True))
    assert (marked > 0.5).mean() == pytest.approx(scale_attention.SHARE, abs=0.01)
    assert marked.min() >= 0 and marked.max() <= 1
    # Afterwards it stays, whatever an image holds.
    assert (np.asarray(marks(confidence + 100)) > 0.5).all()


def test_patches_are_reduced_as_their_answer_says(monkeypatch):
    monkeypatch.setattr(scale_attention, "JITTER", 0)
    image = np.repeat(np.arange(128, dtype=np.uint8)[:, None, None], 128, 1).repeat(3, 2)  # one grey level a row
    patches, told = scale_attention.Patches([image], 1, side=32)[0]
    height = np.maximum(np.ptp(patches.mean(3), axis=1).max(1), np.ptp(patches.mean(3), axis=2).max(1))
    found = np.argmin(np.abs(height[:, None] / 31 - np.array(scale_attention.REDUCTIONS)), axis=1)
    assert (found == told["reduction"]).all() and set(found) == {0, 1, 2}
    assert scale_attention.Patches([image], 1, side=64).reductions == [1, 2]
    with pytest.raises(InputError, match="an image of 128 pixels: reduced patches need twice 96"):
        scale_attention.Patches([image], 1)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call the comparison on synthetic tissue: exit code, output, errors. The commit is that of the moment."""
    write_tissue_set(tmp_path / "data", 1, 1, size=96)
    (tmp_path / "tiny.yaml").write_text(json.dumps(SMALL))  # JSON is YAML
    monkeypatch.setattr(run_list, "commit_of", lambda *_: "0123456")
    monkeypatch.setattr(scale_attention.Patches.__init__, "__defaults__", (32, 0))

    def _call(*options):
        arguments = ["--on", tmp_path / "tiny.yaml", tmp_path / "data", "--out", tmp_path / "out", *options]
        monkeypatch.setattr("sys.argv", ["x", *map(str, (*arguments, "--attention-steps", 2))])
        code = image_level_maps.main()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _call


def test_one_command_gives_the_table_and_goes_on_where_it_was(call, tmp_path, monkeypatch):
    methods = ("--methods", "evidence", "gradcam", "scale_attention", "hematoxylin", "--json", tmp_path / "found.json")
    code, out, _ = call(*methods)
    rows = json.loads((tmp_path / "found.json").read_text())["sets"]["tiny"]
    assert code == 0 and [row["map"] for row in rows] == list(methods[1:5])
    assert all(0 <= row[score] <= 1 for row in rows for score in ("auc", "aji", "dice", "pq"))
    assert rows[3]["auc"] > 0.6 and "| tiny | hematoxylin | 0." in out
    # Both classifiers learnt on the tiles of the first one.
    assert not (tmp_path / "out/tiny/pooled/tiles").exists()
    for name in ("activation_map", "train", "hematoxylin_map"):
        monkeypatch.setattr(image_level_maps, name, None)
    assert call(*methods)[:2] == (0, out)
    code, _, err = call(*methods, "--set", "pseudo.min_area=50")
    assert code == 2 and "settings.json: other settings or images than now; give another --out" in err


def test_a_map_teaches_a_mask_rcnn(call, tmp_path, monkeypatch):
    arguments = ("--methods", "hematoxylin", "--round", "--json", tmp_path / "found.json")
    code, out, _ = call(*arguments)
    (row,) = json.loads((tmp_path / "found.json").read_text())["sets"]["tiny"]
    assert code == 0 and all(0 <= row[f"round_{score}"] <= 1 for score in ("aji", "dice", "pq"))
    monkeypatch.setattr(image_level_maps, "fit", None)
    for prediction in (tmp_path / "out/tiny/hematoxylin/predictions").iterdir():
        prediction.unlink()  # killed after training
    assert call(*arguments)[:2] == (0, out)
