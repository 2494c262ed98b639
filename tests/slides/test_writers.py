"""Each format, written chunk by chunk, holds what the whole label map holds."""

import csv
import gzip
import json

import numpy as np
import pytest
import tifffile
from drawn_slides import draw_blobs, fake_predictor, write_svs

from cyclic.errors import InputError
from cyclic.inference.export import export_csv, export_geojson
from cyclic.label_maps import read_label_map
from cyclic.resolution import read_resolution
from cyclic.slides.predict import SlideOptions, find_nuclei
from cyclic.slides.writers import label_images
from cyclic.slides.writers.formats import FORMATS

MPP = 0.25


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The nuclei of a slide in chunks, its label map, and a folder with every file but the largest."""
    root = tmp_path_factory.mktemp("writers")
    write_svs(root / "a.svs", draw_blobs(300, 420, seed=3))
    predictor = fake_predictor()
    options = SlideOptions(tissue="none", chunk=120)
    nuclei = find_nuclei(predictor, root / "a.svs", options, root / "chunks", "fake", lambda: predictor)
    with pytest.MonkeyPatch.context() as patch:  # several pieces and levels of a small slide
        patch.setattr(label_images, "PIECE", 64)
        patch.setattr(label_images, "SMALLEST_LEVEL", 100)
        nuclei.write({name: root / f"a{FORMATS[name].suffix}" for name in FORMATS if name != "spatialdata"})
    return nuclei, nuclei.label_map(), root


def scores_of(nuclei):
    scores = np.zeros(len(nuclei))
    for some in nuclei:
        scores[some.numbers - 1] = some.scores
    return scores


def test_geojson_is_that_of_the_whole_label_map(found, tmp_path):
    nuclei, labels, root = found
    export_geojson(tmp_path / "whole.geojson", labels, scores_of(nuclei), MPP)
    expected = json.loads((tmp_path / "whole.geojson").read_text())
    written = json.loads((root / "a.geojson").read_text())
    assert {key: written[key] for key in ("type", "generator")} == {key: expected[key] for key in ("type", "generator")}
    written["features"].sort(key=lambda feature: int(feature["properties"]["name"]))
    for ours, theirs in zip(written["features"], expected["features"], strict=True):
        assert ours["geometry"]["type"] == theirs["geometry"]["type"]
        assert corners(ours) == corners(theirs)
        for one, other in zip(
            ours["properties"].pop("measurements"), theirs["properties"].pop("measurements"), strict=True
        ):
            assert one["name"] == other["name"] and one["value"] == pytest.approx(other["value"], abs=2e-6)
        assert ours["properties"] == theirs["properties"]


def corners(feature):
    return sorted(map(tuple, np.array(feature["geometry"]["coordinates"][0]).reshape(-1, 2).tolist()))


def test_a_file_appears_whole_or_not_at_all(found, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    (tmp_path / "a.csv").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr("cyclic.slides.writers.tables.CsvWriter.add", stop)
        with pytest.raises(KeyboardInterrupt):
            found[0].write({"geojson": tmp_path / "a.geojson", "csv": tmp_path / "a.csv"})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "mine")]
    with pytest.raises(InputError, match="no folder can be made here"):
        found[0].write({"csv": tmp_path / "a.csv/a.csv"})


def test_compressed_geojson_is_the_same_and_has_no_time_in_it(found):
    *_, root = found
    assert gzip.decompress((root / "a.geojson.gz").read_bytes()) == (root / "a.geojson").read_bytes()
    assert (root / "a.geojson.gz").read_bytes()[4:8] == bytes(4)


def test_tables_are_those_of_the_whole_label_map(found, tmp_path):
    nuclei, labels, root = found
    export_csv(tmp_path / "whole.csv", labels, scores_of(nuclei), MPP)
    rows = [list(csv.DictReader((folder).open())) for folder in (root / "a.csv", tmp_path / "whole.csv")]
    written, expected = (sorted(each, key=lambda row: int(row["label"])) for each in rows)
    for ours, theirs in zip(written, expected, strict=True):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            assert float(ours[key]) == pytest.approx(float(value), abs=1e-6), key
    parquet = pytest.importorskip("pyarrow.parquet").read_table(root / "a.parquet").to_pylist()
    assert [{key: float(value) for key, value in row.items()} for row in parquet] == [
        {key: float(value) for key, value in row.items()} for row in rows[0]
    ]


def test_the_ome_tiff_is_the_label_map_in_a_pyramid_with_its_size(found):
    _, labels, root = found
    np.testing.assert_array_equal(read_label_map(root / "a.ome.tif"), labels)
    assert read_resolution(root / "a.ome.tif").mpp == pytest.approx(MPP)
    with tifffile.TiffFile(root / "a.ome.tif") as tiff:
        levels = tiff.series[0].levels
        assert tiff.is_ome and [level.shape for level in levels] == [(300, 420), (150, 210), (75, 105), (38, 53)]
        for step, level in zip((2, 4, 8), levels[1:], strict=True):
            np.testing.assert_array_equal(level.asarray(), labels[::step, ::step])
    assert not list(root.glob("*.pieces"))


def test_the_same_nuclei_make_the_same_bytes(found, tmp_path):
    nuclei, *_ = found
    formats = ("geojson.gz", "csv", "parquet", "ome-tiff")
    for time in ("first", "second"):
        (tmp_path / time).mkdir()
        nuclei.write({name: tmp_path / time / f"a{FORMATS[name].suffix}" for name in formats})
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_the_ome_zarr_is_valid_and_has_the_physical_size(found):
    zarr = pytest.importorskip("zarr")
    _, labels, root = found
    group = zarr.open_group(root / "a.ome.zarr", mode="r")
    pyramid = group.attrs["multiscales"][0]
    scales = [each["coordinateTransformations"][0]["scale"] for each in pyramid["datasets"]]
    assert [axis["unit"] for axis in pyramid["axes"]] == ["micrometer"] * 2
    for step, dataset, scale in zip((1, 2, 4, 8), pyramid["datasets"], scales, strict=True):
        np.testing.assert_array_equal(group[dataset["path"]][:], labels[::step, ::step])
        assert scale == [MPP * step] * 2
    models = pytest.importorskip("ome_zarr_models")
    models.open_ome_zarr(group)


def test_a_format_whose_library_is_missing_names_the_command(found, monkeypatch):
    nuclei, _, root = found

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("cyclic.slides.source.importlib.import_module", missing)
    with pytest.raises(InputError, match=r"format parquet: needs pyarrow.*pip install 'cyclic\[slides\]'"):
        nuclei.write({"parquet": root / "b.parquet"})


def test_a_slide_without_nuclei_gives_whole_files(tmp_path):
    write_svs(tmp_path / "a.svs", np.full((300, 300, 3), 244, np.uint8))
    nuclei = fake_predictor().predict_slide(tmp_path / "a.svs", tissue="none")
    nuclei.write({name: tmp_path / f"a{FORMATS[name].suffix}" for name in ("geojson", "csv", "parquet", "ome-tiff")})
    assert json.loads((tmp_path / "a.geojson").read_text())["features"] == []
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1
    assert not read_label_map(tmp_path / "a.ome.tif").any()


@pytest.mark.filterwarnings("ignore:.*autosharding", "ignore:.*Scaler")
def test_spatialdata_opens_the_store_and_its_elements_agree(found, tmp_path, monkeypatch):
    spatialdata = pytest.importorskip("spatialdata", reason="of the extra [spatialdata]")
    monkeypatch.setattr(label_images, "SMALLEST_LEVEL", 200)
    nuclei, labels, _ = found
    nuclei.write({"spatialdata": tmp_path / "a.spatialdata.zarr"})
    store = spatialdata.read_zarr(tmp_path / "a.spatialdata.zarr")
    assert set(store.coordinate_systems) == {"global", "micrometres"}
    pixels = spatialdata.get_pyramid_levels(store["nuclei_labels"], n=0)
    np.testing.assert_array_equal(np.asarray(pixels), labels)
    table, outlines = store["measurements"], store["nuclei"]
    assert len(table) == len(outlines) == len(nuclei)
    areas = dict(zip(outlines.index, outlines.geometry.area, strict=True))
    measured = dict(zip(table.obs["label"], np.asarray(table[:, "area_um2"].X)[:, 0], strict=True))
    for label, area in areas.items():
        assert area == (labels == label).sum() == pytest.approx(measured[label] / MPP**2, rel=1e-5)
