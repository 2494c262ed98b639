"""Label maps in every format that data sets use."""

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import tifffile
from PIL import Image

from cyclic.errors import InputError
from cyclic.label_maps import check_labels, read_label_map, write_label_map

LABELS = np.zeros((6, 4), np.int32)
LABELS[1:3, 1:3], LABELS[4, :] = 1, 300


def write_v73(path, content):
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in content.items():
            file[key] = value.T
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM")


@pytest.mark.parametrize("suffix", ["tif", "png", "npy"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write_label_map(path, LABELS)
    np.testing.assert_array_equal(read_label_map(path), LABELS)
    assert read_label_map(path).dtype == np.int32


def test_many_labels_take_more_bits(tmp_path):
    write_label_map(tmp_path / "a.tif", LABELS * 1000)
    assert read_label_map(tmp_path / "a.tif").max() == 300_000
    with pytest.raises(InputError, match="a.png: label 300000, and a PNG holds up to 65535"):
        write_label_map(tmp_path / "a.png", LABELS * 1000)


@pytest.mark.parametrize("key", ["inst_map", "instance_map"])
@pytest.mark.parametrize("kind", ["plain", "sparse", "v7.3"])
def test_mat_files(tmp_path, key, kind):
    path = tmp_path / "a.mat"
    if kind == "v7.3":
        write_v73(path, {key: LABELS.astype(float)})
    else:
        content = LABELS.astype(float)
        scipy.io.savemat(path, {key: scipy.sparse.csc_matrix(content) if kind == "sparse" else content})
    np.testing.assert_array_equal(read_label_map(path), LABELS)


@pytest.mark.parametrize("kind", ["plain", "v7.3"])
def test_a_mat_file_of_something_else(tmp_path, kind):
    path = tmp_path / "a.mat"
    if kind == "v7.3":
        write_v73(path, {"type_map": LABELS.astype(float)})
    else:
        scipy.io.savemat(path, {"type_map": LABELS})
    with pytest.raises(InputError, match="a.mat: no inst_map or instance_map"):
        read_label_map(path)


@pytest.mark.parametrize("shape", [(1, 6, 4), (6, 4, 1), (1, 1, 6, 4)])
def test_axes_of_length_one_are_dropped(tmp_path, shape):
    np.save(tmp_path / "a.npy", LABELS.reshape(shape))
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.npy"), LABELS)
    tifffile.imwrite(tmp_path / "a.tif", LABELS.reshape(shape), photometric="minisblack")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), LABELS)


def test_a_row_of_pixels_stays_a_row():
    assert check_labels(np.ones((1, 5), int), "a").shape == (1, 5)


def test_a_palettes_indices_are_the_labels(tmp_path):
    indices = (LABELS % 256).astype(np.uint8)
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), indices)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), "shape"),
        (np.full((4, 4), 0.5), "with fractions"),
        (np.full((4, 4), np.nan), "NaN or infinite"),
        (np.full((4, 4), np.inf), "NaN or infinite"),
        (np.zeros((4, 4), complex), "complex128 pixels"),
        (np.full((4, 4), -1), "labels from -1"),
        (np.full((4, 4), 2**40), "labels from"),
    ],
)
def test_what_is_no_label_map_is_refused_by_name(tmp_path, labels, message):
    np.save(tmp_path / "a.npy", labels)
    with pytest.raises(InputError, match=f"a.npy: .*{message}|a.npy: {message}"):
        read_label_map(tmp_path / "a.npy")


def test_whole_numbers_of_another_type_are_labels():
    for dtype in (bool, np.uint8, np.int64, np.float32):
        labels = (LABELS > 0).astype(dtype)
        np.testing.assert_array_equal(check_labels(labels, "a"), LABELS > 0)


def test_a_pickled_array_is_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match="not a readable label map"):
        read_label_map(tmp_path / "a.npy")
