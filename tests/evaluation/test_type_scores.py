"""Nuclei paired by their centroids: F_d, F_c, and the classes that `types/` gives to label maps."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclic.cli import main
from cyclic.errors import InputError
from cyclic.evaluation.folders import evaluate_folders
from cyclic.evaluation.type_scores import class_f, detection_scores, pair_by_centroid
from cyclic.files import read_json
from cyclic.label_maps import write_label_map


def draw(nuclei, shape=(60, 60)):
    """Label map and class map of `(y, x, class)`: squares of three pixels."""
    labels, classes = np.zeros((2, *shape), np.int32)
    for number, (y, x, class_) in enumerate(nuclei, start=1):
        labels[y - 1 : y + 2, x - 1 : x + 2], classes[y - 1 : y + 2, x - 1 : x + 2] = number, class_
    return labels, classes


def pair(true, pred, mpp=0.25):
    (true, true_classes), (pred, pred_classes) = draw(true), draw(pred)
    return pair_by_centroid(true, pred, true_classes, pred_classes, mpp)


def test_a_case_by_hand():
    true = [(10, 10, 1), (10, 40, 1), (40, 10, 2), (40, 40, 2)]
    pred = [(12, 10, 1), (10, 42, 2), (40, 10, 2), (55, 55, 2)]  # right, wrong class, right, 21 px away
    pairing = pair(true, pred)
    assert detection_scores([pairing]) == {"f_d": 2 * 3 / (2 * 3 + 1 + 1), "type_accuracy": pytest.approx(2 / 3)}
    # Class 1: one right, one that was called 2. Class 2: one right, one that is 1, one alone on each side.
    assert class_f([pairing], 1) == 2 / (2 + 2) and class_f([pairing], 2) == 2 / (2 + 2 + 1 + 1)
    assert class_f([pairing], 3) is None


def test_the_radius_is_three_micrometres():
    for mpp, far in ((0.25, 12), (0.5, 6)):
        for distance, paired in ((far, 1), (far + 1, 0)):
            assert len(pair([(20, 20, 1)], [(20, 20 + distance, 1)], mpp).true) == paired


def test_nuclei_without_a_class_count_for_detection_alone():
    pairing = pair([(10, 10, 0), (40, 40, 1)], [(10, 10, 1), (40, 40, 1)])
    assert detection_scores([pairing]) == {"f_d": 1.0, "type_accuracy": 1.0} and class_f([pairing], 1) == 1.0


def test_nothing_on_one_side_or_on_both():
    assert detection_scores([pair([], [])]) == {"f_d": 1.0, "type_accuracy": None}
    alone = pair([(10, 10, 1)], [])
    assert detection_scores([alone])["f_d"] == 0 == class_f([alone], 1)


def test_images_are_pooled():
    one, many = pair([(10, 10, 1)], []), pair([(10, 10, 1), (10, 40, 1)], [(10, 10, 1), (10, 40, 1)])
    assert detection_scores([one, many])["f_d"] == class_f([one, many], 1) == 4 / 5


places = st.lists(
    st.tuples(st.sampled_from([5, 12, 19, 26]), st.sampled_from([5, 12, 19]), st.sampled_from([1, 2])),
    max_size=4, unique_by=lambda nucleus: nucleus[:2],
)  # fmt: skip


@given(places, places)
def test_figures_equal_the_definition(true, pred):
    """Of all one-to-one assignments the one of the smallest sum of distances, then the radius, then the counts."""
    few, many = sorted((true, pred), key=len)
    assignments = [list(zip(few, chosen, strict=True)) for chosen in itertools.permutations(many, len(few))]
    sums = [sum(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in assignment) for assignment in assignments]
    if np.sum(np.isclose(sums, min(sums))) > 1:
        return  # a tie, which any program breaks as it likes
    pairs = [(a, b) for a, b in assignments[int(np.argmin(sums))] if np.hypot(a[0] - b[0], a[1] - b[1]) <= 12]
    pairs = pairs if few is true else [(b, a) for a, b in pairs]
    lone_true = [each for each in true if each not in [a for a, _ in pairs]]
    lone_pred = [each for each in pred if each not in [b for _, b in pairs]]
    pairing = pair(true, pred)
    nuclei = len(true) + len(pred)
    assert detection_scores([pairing])["f_d"] == pytest.approx(2 * len(pairs) / nuclei if nuclei else 1)
    for class_ in (1, 2):
        tp = sum(a[2] == b[2] == class_ for a, b in pairs)
        wrong = sum((a[2] == class_) != (b[2] == class_) for a, b in pairs)
        lone = sum(each[2] == class_ for each in lone_true + lone_pred)
        total = 2 * tp + 2 * wrong + lone
        assert class_f([pairing], class_) == (pytest.approx(2 * tp / total) if total else None)


def write(root, nuclei, types=True):
    labels, classes = draw(nuclei)
    write_label_map(root / "labels" / "a.tif", labels)
    if types:
        write_label_map(root / "types" / "a.tif", classes)
    return root / "labels"


def test_types_beside_labels_are_their_classes(tmp_path):
    true = write(tmp_path / "true", [(10, 10, 1), (40, 40, 2)])
    pred = write(tmp_path / "pred", [(10, 10, 1), (40, 40, 1)])
    evaluation = evaluate_folders(pred, true)
    assert evaluation["pooled"] == {"f_d": 1.0, "type_accuracy": 0.5}
    assert {class_: scores["f_c"] for class_, scores in evaluation["classes"].items()} == {"1": 2 / 4, "2": 0.0}
    bare = write(tmp_path / "bare", [(10, 10, 1)], types=False)
    assert "pooled" not in evaluate_folders(bare, true)
    # A folder types/ is not of every folder beside it.
    (tmp_path / "true/predictions").mkdir()
    labels, _ = draw([(10, 10, 1)])
    write_label_map(tmp_path / "true/predictions/a.tif", labels)
    assert "classes" not in evaluate_folders(tmp_path / "true/predictions", true)


def test_types_of_another_size_are_named(tmp_path):
    true = write(tmp_path / "true", [(10, 10, 1)])
    write_label_map(tmp_path / "true/types/a.tif", np.ones((5, 5), np.int32))
    with pytest.raises(InputError, match=r"types/a\.tif: is no map of classes .* in the shape \(60, 60\)"):
        evaluate_folders(true, true)


def test_the_command_tells_them(tmp_path, capsys):
    labels = write(tmp_path / "true", [(10, 10, 1), (40, 40, 2)])
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--pred", str(labels), "--gt", str(labels), "--json", str(tmp_path / "s.json")])
    told = capsys.readouterr().out
    assert end.value.code == 0 and "F_d" in told and "F_c" in told
    assert read_json(tmp_path / "s.json")["classes"]["2"]["f_c"] == 1.0
