"""MoNuSeg and MoNuSAC as they are downloaded: Aperio's outlines become label maps."""

import numpy as np
import pytest
import tifffile

from cyclic.datasets.aperio import AperioDataset, read_outlines
from cyclic.datasets.layouts import open_dataset
from cyclic.errors import InputError
from cyclic.label_maps import read_label_map

SQUARE = ((10, 4), (20, 4), (20, 12), (10, 12))  # x, y


def region(corners, **attributes):
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    given = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<Region{given}><Vertices>{vertices}</Vertices></Region>"


def layer(*regions, name=""):
    attributes = f'<Attributes><Attribute Name="{name}"/></Attributes>'
    return f"<Annotation>{attributes}<Regions>{''.join(regions)}</Regions></Annotation>"


def write(path, *layers):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>')
    return path


def read(tmp_path, *layers, shape=(30, 40)):
    return read_outlines(write(tmp_path / "a.xml", *layers), shape).labels


def test_an_outline_holds_the_pixels_between_its_edges(tmp_path):
    labels = read(tmp_path, layer(region(SQUARE)))
    expected = np.zeros((30, 40), np.int32)
    expected[4:12, 10:20] = 1
    np.testing.assert_array_equal(labels, expected)


def test_nuclei_are_numbered_over_all_layers_and_the_later_one_has_shared_pixels(tmp_path):
    moved = tuple((x + 5, y) for x, y in SQUARE)
    labels = read(tmp_path, layer(region(SQUARE), name="Epithelial"), layer(region(moved), name="Lymphocyte"))
    assert [(labels == number).sum() for number in (1, 2)] == [8 * 5, 8 * 10]


def test_what_is_no_nucleus_is_left_out(tmp_path):
    far = tuple((x + 1000, y) for x, y in SQUARE)
    labels = read(
        tmp_path,
        layer(region(SQUARE[:2]), region(()), region(far), region(SQUARE)),
        layer(region(((22, 20), (30, 20), (30, 28))), name="Ambiguous"),
    )
    assert labels.max() == 1 and (labels > 0).sum() == 80


def test_a_negative_region_is_cut_out(tmp_path):
    hole = region(((12, 6), (15, 6), (15, 9), (12, 9)), NegativeROA="1")
    labels = read(tmp_path, layer(region(SQUARE, NegativeROA="0"), hole))
    assert (labels == 1).sum() == 80 - 9 and labels.max() == 1


def test_a_corner_far_out_costs_no_memory(tmp_path):
    labels = read(tmp_path, layer(region(((10, 4), (1e12, 4), (10, 12)))))
    assert labels[5, 15] == 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<Annotations>",
        "no xml",
        layer(region((("a", 1), (2, 2), (3, 3)))),
        layer(region((("nan", 1), (2, 2), (3, 3)))),
    ],
)
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(InputError, match="a.xml: not Aperio's outlines"):
        read_outlines(tmp_path / "a.xml", (30, 40))


def test_a_corner_without_a_place_is_named(tmp_path):
    (tmp_path / "a.xml").write_text('<A><Annotation><Region><Vertex X="1"/></Region></Annotation></A>')
    with pytest.raises(InputError, match="a corner without X and Y"):
        read_outlines(tmp_path / "a.xml", (30, 40))


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full((30, 40, 3), 200, np.uint8), photometric="rgb", compression="lzw")


def test_monuseg(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "Tissue Images" / f"{name}.tif")
    write(tmp_path / "Annotations/a.xml", layer(region(SQUARE)))
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, AperioDataset) and dataset.ids == ["a", "b"]
    assert dataset.has_labels("a") and not dataset.has_labels("b")
    assert dataset.label_map("a").max() == 1 and dataset.image("b").shape == (30, 40, 3)


def test_monusac(tmp_path):
    for patient in ("P1", "P2"):
        home = tmp_path / "MoNuSAC_images_and_annotations" / patient
        write_image(home / f"{patient}_1.tif")
        (home / f"{patient}_1.svs").write_bytes(b"")  # the same image once more
        (home / f"._{patient}_1.tif").write_bytes(b"")
        write(home / f"{patient}_1.xml", layer(region(SQUARE), name="Epithelial"))
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, AperioDataset) and dataset.ids == ["P1_1", "P2_1"]
    assert dataset.label_map("P2_1").max() == 1


def test_monusac_without_images_and_with_one_id_twice(tmp_path):
    home = tmp_path / "MoNuSAC_images_and_annotations"
    (home / "P1").mkdir(parents=True)
    with pytest.raises(InputError, match="no images"):
        open_dataset(tmp_path)
    write_image(home / "P1/a.tif")
    write_image(home / "P2/a.tif")
    with pytest.raises(InputError, match="a.tif: same id as"):
        open_dataset(tmp_path)


def test_the_official_image_has_the_nuclei_of_its_label_map(shared):
    dataset = open_dataset(shared / "data/monuseg_official")
    (name,) = dataset.ids
    found = dataset.label_map(name) > 0
    true = read_label_map(shared / f"data/monuseg/labels/{name}.png") > 0
    assert dataset.label_map(name).max() == 314
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.96
