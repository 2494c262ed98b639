"""`studies/error_types.py`: shares of each kind of error, for images and on average."""

import importlib.util
import json
import pathlib

import numpy as np

from cyclic.label_maps import write_label_map

_SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "studies" / "error_types.py"
_SPEC = importlib.util.spec_from_file_location("error_types_script", _SCRIPT)
script = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(script)


def test_script_writes_images_and_mean(tmp_path, monkeypatch, capsys):
    labels = np.zeros((20, 20), np.int32)
    labels[2:9, 2:9] = 1
    for folder, name, content in (("gt", "a", labels), ("gt", "b", labels), ("pred", "a", labels)):
        write_label_map(tmp_path / folder / f"{name}.tif", content)
    out = tmp_path / "errors.json"
    command = ["x", str(tmp_path / "pred"), "--gt", str(tmp_path / "gt"), "--json", str(out)]
    monkeypatch.setattr("sys.argv", command)
    assert script.main() == 0 and "mean hit 1.000" in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert list(written["images"]) == ["a"] and written["mean"]["pred_hit"] == 1
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
