"""The CSV of an image's nuclei."""

import csv

import numpy as np
import pytest
import skimage.draw

from cyclic.inference.export.table import export_csv


def blobs():
    labels = np.zeros((60, 80), np.int32)
    labels[skimage.draw.ellipse(20, 30, 8, 16)] = 1
    labels[40:50, 10:20] = 3
    return labels, np.array([0.875, 0.1, 0.5])


def read(path):
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(path.read_text().splitlines())]


def test_measurements_in_pixels(tmp_path):
    labels, scores = blobs()
    export_csv(tmp_path / "a.csv", labels, scores)
    ellipse, square = read(tmp_path / "a.csv")
    assert (ellipse["label"], ellipse["score"], square["label"], square["score"]) == (1, 0.875, 3, 0.5)
    assert ellipse["area_px2"] == (labels == 1).sum() and square["area_px2"] == 100
    assert (ellipse["x_px"], ellipse["y_px"]) == pytest.approx((30.5, 20.5))
    assert (square["x_px"], square["y_px"]) == (15, 45), "the middle of [10, 20] x [40, 50]"
    assert ellipse["major_axis_px"] == pytest.approx(32, abs=1) and ellipse["minor_axis_px"] == pytest.approx(16, abs=1)
    assert abs(ellipse["orientation"]) == pytest.approx(np.pi / 2, abs=0.01)
    assert square["eccentricity"] == 0 and square["solidity"] == 1 and ellipse["solidity"] > 0.9


def test_pixel_size_scales_lengths_and_areas_alone(tmp_path):
    export_csv(tmp_path / "px.csv", *blobs())
    export_csv(tmp_path / "um.csv", *blobs(), pixel_size=0.25)
    for pixels, micrometres in zip(read(tmp_path / "px.csv"), read(tmp_path / "um.csv"), strict=True):
        for name, value in pixels.items():
            factor = 0.0625 if name.endswith("_px2") else 0.25 if name.endswith("_px") else 1
            assert micrometres[name.replace("_px", "_um")] == pytest.approx(value * factor), name


def test_nuclei_of_a_pixel_and_of_a_line_without_warning(tmp_path, recwarn):
    labels = np.zeros((9, 9), np.int32)
    labels[1, 1], labels[4, 2:8] = 1, 2
    export_csv(tmp_path / "a.csv", labels, np.ones(2))
    assert [row["area_px2"] for row in read(tmp_path / "a.csv")] == [1, 6] and not recwarn.list


def test_no_nucleus_leaves_the_header(tmp_path):
    export_csv(tmp_path / "a.csv", np.zeros((5, 6), np.int32), np.zeros(0))
    assert (tmp_path / "a.csv").read_text().startswith("label,score,x_px,y_px,area_px2,") and not read(
        tmp_path / "a.csv"
    )


@pytest.mark.parametrize(("scores", "size", "message"), [([1.0], None, "1 scores"), ([1.0] * 3, 0, "pixel_size is 0")])
def test_wrong_use(tmp_path, scores, size, message):
    with pytest.raises(ValueError, match=message):
        export_csv(tmp_path / "a.csv", blobs()[0], np.array(scores), size)
    assert not list(tmp_path.iterdir())
