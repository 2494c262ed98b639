"""What became of each nucleus, case by case and on any label maps."""

import doctest
import importlib.util
import json
import pathlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cyclic.evaluation import error_types as module
from cyclic.evaluation.error_types import error_types
from cyclic.evaluation.matching import contingency
from cyclic.files import write_label_map

_SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "error_types.py"
_SPEC = importlib.util.spec_from_file_location("error_types_script", _SCRIPT)
script = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(script)

label_maps = hnp.arrays(np.int32, (12, 14), elements=st.integers(0, 4))


def found(true, pred):
    """The kinds with a share, of label maps given as boxes (y1, x1, y2, x2) on a 40 x 40 image."""
    maps = []
    for boxes in (true, pred):
        labels = np.zeros((40, 40), np.int32)
        for label, (y1, x1, y2, x2) in enumerate(boxes, 1):
            labels[y1:y2, x1:x2] = label
        maps.append(labels)
    return {kind: round(share, 3) for kind, share in error_types(contingency(*maps)).items() if share}


@given(label_maps, label_maps)
def test_shares_of_each_side_add_up_to_one(true, pred):
    shares = error_types(contingency(true, pred))
    of_pred = sum(share for kind, share in shares.items() if kind.startswith("pred_"))
    of_true = sum(share for kind, share in shares.items() if not kind.startswith("pred_"))
    assert np.isclose(of_true, true.any()) and np.isclose(of_pred, pred.any())


@given(label_maps)
def test_a_map_matches_itself(labels):
    shares = error_types(contingency(labels, labels))
    assert shares["matched"] == shares["pred_matched"] == labels.any()


def test_example_runs():
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted and not result.failed


def test_a_slightly_wrong_outline_is_inexact():
    assert found([(0, 0, 10, 10)], [(0, 0, 10, 4)]) == {"inexact": 1, "pred_inexact": 1}


def test_many_nuclei_in_one_prediction_are_merged():
    row = [(0, 10 * x, 10, 10 * x + 10) for x in range(4)]
    assert found(row, [(0, 0, 10, 40)]) == {"merged": 1, "pred_merging": 1}


def test_a_nucleus_with_a_small_piece_predicted_is_partial():
    assert found([(0, 0, 10, 20)], [(0, 0, 10, 5)]) == {"partial": 1, "pred_other": 1}


def test_nothing_over_a_nucleus_misses_it_and_a_prediction_beside_it_is_background():
    assert found([(0, 0, 10, 10)], [(20, 20, 30, 30)]) == {"missed": 1, "pred_background": 1}


def test_nothing_at_all():
    assert found([], []) == {} and found([(0, 0, 5, 5)], []) == {"missed": 1}


def test_script_writes_images_and_mean(tmp_path, monkeypatch, capsys):
    labels = np.zeros((20, 20), np.int32)
    labels[2:9, 2:9] = 1
    for folder, name, content in (("gt", "a", labels), ("gt", "b", labels), ("pred", "a", labels)):
        write_label_map(tmp_path / folder / f"{name}.tif", content)
    out = tmp_path / "errors.json"
    command = ["x", str(tmp_path / "pred"), "--gt", str(tmp_path / "gt"), "--json", str(out)]
    monkeypatch.setattr("sys.argv", command)
    assert script.main() == 0 and "mean matched 1.000" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert list(written["images"]) == ["a"] and written["mean"]["pred_matched"] == 1
    with_speck = labels.copy()
    with_speck[12:19, 12:19] = 2
    write_label_map(tmp_path / "pred" / "a.tif", with_speck)
    assert script.main() == 0
    written = json.loads(out.read_text())["mean"]
    assert written["aji"] == 0.5 and written["aji_without_background"] == 1
    write_label_map(tmp_path / "pred" / "c.tif", labels)
    assert script.main() == 2 and "no label map for c" in capsys.readouterr().err
    write_label_map(tmp_path / "pred" / "c.tif", labels[:10])
    write_label_map(tmp_path / "gt" / "c.tif", labels)
    assert script.main() == 2 and "c.tif: shape (10, 20), but" in capsys.readouterr().err
