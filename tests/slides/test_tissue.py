"""Where to look: coloured tissue, polygons, or everywhere."""

import json

import numpy as np
import pytest

from cyclic.datasets.synthetic import draw_tissue
from cyclic.errors import InputError
from cyclic.images import read_image
from cyclic.slides.scaled import ScaledSlide
from cyclic.slides.source import ArraySource
from cyclic.slides.tissue import find_tissue, read_polygons, tissue_mask

SQUARE = [[100, 50], [200, 50], [200, 150], [100, 150], [100, 50]]


def on_glass(tissue, corner=(200, 300), shape=(600, 800)):
    """A piece of tissue on tinted glass with the noise of a camera."""
    glass = np.random.default_rng(0).normal((240, 236, 241), 2, (*shape, 3)).astype(np.uint8)
    y, x = corner
    glass[y : y + tissue.shape[0], x : x + tissue.shape[1]] = tissue
    return glass


def polygons(path, rings, wrapped=True):
    features = [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}} for ring in rings
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} if wrapped else features))
    return path


def look(image, how, region=None):
    source = ArraySource(image)
    height, width = image.shape[:2]
    return find_tissue(how, source, ScaledSlide(source, region or (0, 0, height, width), 1.0), "a.svs")


def test_tissue_is_found_on_glass_and_glass_is_not():
    tissue, _ = draw_tissue(np.random.default_rng(3), 200)
    found = look(on_glass(tissue), "auto")
    windows = np.array([[250, 350, 300, 400], [380, 480, 420, 520], [0, 0, 100, 100], [500, 0, 600, 800]])
    assert found.touches(windows).tolist() == [True, True, False, False]
    # What is found beside it, in a window that touches it, counts.
    assert found.holds(np.array([[0.0, 0.0]])).tolist() == [True]


def test_glass_alone_has_no_tissue_and_tissue_alone_has_nothing_else():
    tissue, labels = draw_tissue(np.random.default_rng(4), 256)
    assert not tissue_mask(on_glass(tissue[:0], (0, 0))).any()
    assert not tissue_mask(np.full((90, 90, 3), 255, np.uint8)).any()
    assert tissue_mask(tissue)[labels > 0].mean() > 0.99


def test_real_tissue_is_not_parted_from_itself(shared):
    for path in sorted((shared / "monuseg_raw").rglob("*.png"))[:4]:
        assert tissue_mask(read_image(path)).mean() > 0.8, path.name


@pytest.mark.parametrize("wrapped", [True, False])
def test_polygons_choose_windows_and_centres(tmp_path, wrapped):
    path = polygons(tmp_path / "a.geojson", [SQUARE], wrapped)
    found = look(np.zeros((400, 400, 3), np.uint8), path)
    assert found.touches(np.array([[0, 0, 60, 110], [0, 0, 40, 110], [60, 120, 70, 130]])).tolist() == [
        True,
        False,
        True,
    ]
    assert found.holds(np.array([[150, 100], [250, 100], [99, 100]])).tolist() == [True, False, False]
    moved = look(np.zeros((400, 400, 3), np.uint8), path, region=(50, 100, 400, 400))
    assert moved.holds(np.array([[1, 1], [99, 99], [101, 50]])).tolist() == [True, True, False]


def test_a_file_without_polygons_is_named(tmp_path):
    for content in ('{"type": "Point", "coordinates": [1, 2]}', '{"a": 1}', "[]", "no json"):
        (tmp_path / "a.geojson").write_text(content)
        with pytest.raises(InputError, match=r"a\.geojson: (no polygons in GeoJSON|not valid JSON)"):
            read_polygons(tmp_path / "a.geojson")
    with pytest.raises(InputError, match="no such file"):
        read_polygons(tmp_path / "b.geojson")
