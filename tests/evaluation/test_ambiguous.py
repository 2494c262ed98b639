"""Places where nobody could tell the nuclei."""

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.evaluation.ambiguous import outside
from cyclic.evaluation.compare import compare
from cyclic.evaluation.folders import evaluate_folders
from cyclic.evaluation.sources import Nuclei, Source
from cyclic.files import write_image
from cyclic.label_maps import write_label_map

TRUE, RIGHT, DOUBTED = np.s_[4:12, 4:12], np.s_[4:12, 4:12], np.s_[20:28, 20:28]


@pytest.fixture
def root(tmp_path):
    """Image `a` has a nucleus that is found, and one found where nobody could tell; `b` has the same and no mask."""
    true, predicted = np.zeros((2, 32, 32), np.int32)
    true[TRUE] = 1
    predicted[DOUBTED], predicted[RIGHT] = 3, 7
    for name in "ab":
        write_label_map(tmp_path / f"gt/{name}.tif", true)
        write_label_map(tmp_path / f"pred/{name}.tif", predicted)
    mask = np.zeros((32, 32), np.uint8)
    mask[18:30, 18:30] = 255
    write_image(tmp_path / "ambiguous/a.png", mask)
    return tmp_path


def test_what_is_found_there_does_not_count(root):
    images = evaluate_folders(root / "pred", root / "gt", ambiguous=root / "ambiguous")["images"]
    assert images["a"]["f1"] == 1 and images["a"]["n_pred"] == 1
    assert images["b"]["f1"] == pytest.approx(2 / 3)
    assert evaluate_folders(root / "pred", root / "gt")["images"]["a"]["f1"] == pytest.approx(2 / 3)


def test_compare_hands_it_on(root):
    evaluations, _ = compare([root / "pred"], root / "gt", ambiguous=root / "ambiguous")
    assert evaluations["pred"]["images"]["a"]["f1"] == 1


def test_scores_stay_with_their_nuclei(root):
    labels = np.zeros((32, 32), np.int32)
    labels[DOUBTED], labels[RIGHT] = 3, 7
    source = Source(root, {"a": lambda: Nuclei(labels, "a", np.array([0.2, 0.9]))})
    found = outside(source, root / "ambiguous").readers["a"]()
    assert np.unique(found.labels).tolist() == [0, 7] and found.confidence.tolist() == [0.9]


def test_masks_of_other_images_or_sizes(root):
    with pytest.raises(InputError, match="name each mask as its image"):
        outside(Source(root, {"c": lambda: None}), root / "ambiguous")
    write_image(root / "ambiguous/a.png", np.zeros((16, 32), np.uint8))
    with pytest.raises(InputError, match=r"a\.png: shape \(16, 32\)"):
        evaluate_folders(root / "pred", root / "gt", ambiguous=root / "ambiguous")
