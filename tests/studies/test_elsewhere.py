"""What `studies/elsewhere.py` counts on a lab's images."""

import json
import types

import elsewhere
import numpy as np
import pytest

from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("lab")
    write_tissue_set(root, 1, 1, size=96)
    return root


def test_the_truth_scores_one(data):
    dataset = MonusacDataset(data)
    by_image = {dataset.image(name).tobytes(): dataset.label_map(name) for name in dataset.ids}
    found = elsewhere.score(dataset, lambda image: by_image[image.tobytes()])
    expected = {"aji": 1, "dice": 1, "pq": 1, "f1": 1, "area_ratio": 1, "false_per_mm2": 0}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_set_is_named_and_may_be_one_split(data):
    name, dataset = elsewhere.open_named(f"lab={data}:val")
    assert name == "lab" and dataset.ids == ["val_000"]
    assert len(elsewhere.open_named(f"lab={data}")[1].ids) == 2
    with pytest.raises(InputError, match="write it as NAME=FOLDER"):
        elsewhere.open_named(str(data))


def test_images_get_the_stain_of_the_reference(data):
    pytest.importorskip("torchstain")
    dataset = MonusacDataset(data)
    image, reference = (dataset.image(name) for name in dataset.ids)
    changed = elsewhere.stain_changer("reinhard", dataset.image_path(dataset.ids[1]))(image)
    assert np.abs(changed.mean((0, 1)) - reference.mean((0, 1))).max() < 5
    bare = np.full((20, 20, 3), 250, np.uint8)
    assert elsewhere.stain_changer("macenko", dataset.image_path(dataset.ids[1]))(bare) is bare
    assert elsewhere.stain_changer(None, None)(image) is image
    with pytest.raises(InputError, match="needs --reference"):
        elsewhere.stain_changer("macenko", None)


def test_figures_of_model_and_thresholds_are_written(data, tmp_path, monkeypatch, capsys):
    (tmp_path / "weights.h5").write_bytes(b"weights")

    class EmptyPredictor:
        def predict(self, image, mpp):
            return types.SimpleNamespace(labels=np.zeros(image.shape[:2], np.int32))

    monkeypatch.setattr(elsewhere.Predictor, "load", lambda path, overrides: EmptyPredictor())
    target = tmp_path / "found.json"
    monkeypatch.setattr(
        "sys.argv", ["x", str(tmp_path / "weights.h5"), "--on", f"lab={data}:val", "--json", str(target)]
    )
    assert elsewhere.main() == 0
    figures = json.loads(target.read_text())["labs"]["lab"]
    assert figures["model"]["aji"] == 0 < figures["thresholds"]["aji"] and figures["images"] == 1
    assert "lab, 1 images, thresholds:" in capsys.readouterr().out
