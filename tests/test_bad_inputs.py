"""Bad input, a table: each case is refused in one line that names the file, and whatever can be read is read.

A case is what a user may hand over by mistake. The command ends with exit code 2 and nothing is written. Each room's
own tests look closer at its readers.
"""

import io
import json
import os
import pickle
import re
import struct
import zipfile
import zlib

import h5py
import keras  # noqa: F401  # before any command mutes native code in this process
import numpy as np
import pytest
import tifffile
import typer
from PIL import Image

import cyclic
from cyclic import cli
from cyclic.config import load_config
from cyclic.errors import InputError
from cyclic.evaluation.folders import evaluate_folders
from cyclic.files import MAX_PIXELS, check_outputs, image_files, read_json, write_image
from cyclic.images import as_rgb, read_image
from cyclic.label_maps import read_label_map, read_mask, write_label_map
from cyclic.networks import Models
from cyclic.runs.directory import RunDirectory

SIDE = 48
TINY = (
    "mask_rcnn.width=[16, 16, 16, 16]", "detection.max_instances=8", "detection.proposals=16", "scale=1",
    "detection.tile=64", "detection.overlap=16", "precision=float32",
)  # fmt: skip


def picture(mode="RGB", side=SIDE):
    values = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def encoded(image, format_="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def claimed_png(height, width):
    """A PNG of a few bytes whose header claims a size: what a decompression bomb begins with."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def claimed_npy(*shape):
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


def frames(format_):
    return encoded(picture(), format_, save_all=True, append_images=[picture("L").convert("RGB")])


def tiff_of_bits(bits):
    """A grey TIFF of a number of bits that is no whole byte, all white."""
    data = b"\xff" * (SIDE * SIDE * bits // 8)
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: 1, 273: 8 + 2 + 12 * 9 + 4, 277: 1, 278: SIDE, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def two_pictures(*sides):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for side in sides:
            writer.write(np.asarray(picture(side=side)))
    return buffer.getvalue()


class Bomb:
    """Leaves a file behind if it is ever unpickled."""

    def __reduce__(self):
        return open, ("unpickled", "w")


FLOATS = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
LABELS = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 5


def with_value(array, value):
    array = array.copy()
    array[3, 4] = value
    return array


# --- images ---

GOOD_IMAGES = {
    "grey.png": encoded(picture("L")),
    "bits_1.png": encoded(picture("1")),
    "bits_16.png": encoded(Image.fromarray((np.arange(SIDE * SIDE) * 20).astype(np.uint16).reshape(SIDE, SIDE))),
    "grey_alpha.png": encoded(picture("LA")),
    "rgba.png": encoded(picture("RGBA")),
    "palette.png": encoded(picture("P")),
    "cmyk.jpg": encoded(picture("CMYK"), "JPEG"),
    "bmp.bmp": encoded(picture(), "BMP"),
    "rgb_16.tif": tiff(np.full((SIDE, SIDE, 3), 60_000, np.uint16)),
    "float.tif": tiff(FLOATS),
    "bool.tif": tiff(FLOATS > 0.5),
    "bits_4.tif": tiff_of_bits(4),
    "thumbnail_too.tif": two_pictures(SIDE, 16),
    "one_pixel.png": encoded(picture(side=1)),
    "wrong_suffix.png": encoded(picture(), "JPEG"),
}
BAD_IMAGES = {
    "empty.png": (b"", "not a readable image"),
    "empty.tif": (b"", "not a readable image"),
    "text.png": (b"this is no picture", "not a readable image"),
    "truncated.png": (encoded(picture())[:300], "not a readable image"),
    "truncated.jpg": (encoded(picture(), "JPEG")[:300], "not a readable image"),
    "truncated.tif": (tiff(np.ones((SIDE, SIDE, 3), np.uint8))[:500], "not a readable image"),
    "header_only.tif": (tiff(np.ones((SIDE, SIDE, 3), np.uint8))[:8], "not a readable image"),
    "flipped.png": (encoded(picture())[:60] + b"\xff" * 40 + encoded(picture())[100:], "not a readable image"),
    "animated.png": (frames("PNG"), "2 frames"),
    "animated_gif.bmp": (frames("GIF"), "2 frames"),
    "pages.tif": (tiff(np.zeros((3, SIDE, SIDE), np.uint8), photometric="minisblack"), "export one page"),
    "cmyk.tif": (tiff(np.zeros((SIDE, SIDE, 4), np.uint8), photometric="separated"), "CMYK"),
    "lab.tif": (encoded(picture("LAB"), "TIFF"), "CIELAB"),
    "ycbcr.tif": (encoded(picture("YCbCr"), "TIFF"), "YCBCR"),
    "channels_2.tif": (tiff(np.zeros((2, SIDE, SIDE), np.uint8), imagej=True, metadata={"axes": "CYX"}), "2 channels"),
    "channels_4.tif": (tiff(np.zeros((4, SIDE, SIDE), np.uint8), imagej=True, metadata={"axes": "CYX"}), "4 channels"),
    "thumbnail_first.tif": (two_pictures(16, SIDE), "2 pictures in one file"),
    "postscript.png": (encoded(picture(), "EPS"), "not a readable image"),
    "nan.tif": (tiff(with_value(FLOATS, np.nan)), "values from nan"),
    "inf.tif": (tiff(with_value(FLOATS, np.inf)), "values from 0 to inf"),
    "float_255.tif": (tiff(FLOATS * 255), "values from 0 to 255"),
    "negative.tif": (tiff(FLOATS - 1), "values from -1 to 0"),
    "int32.tif": (tiff(np.zeros((SIDE, SIDE), np.int32)), "int32 pixels"),
    "complex.tif": (tiff(FLOATS.astype(np.complex64)), "complex64 pixels"),
    "bands.tif": (tiff(np.zeros((SIDE, SIDE, 6), np.uint8), photometric="minisblack", planarconfig="contig"), ""),
    "bomb.png": (claimed_png(60_000, 60_000), f"60000 x 60000 pixels, and {MAX_PIXELS} are the most"),
    "bomb_thin.png": (claimed_png(1, 2**31 - 1), "are the most"),
    "webp_as_tif.tif": (encoded(picture(), "WEBP"), "not a readable image"),
    "pickle.png": (pickle.dumps(Bomb()), "not a readable image"),
}


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_an_unusual_image_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(GOOD_IMAGES[name])
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8 and image.shape[2] == 3 and image.shape[:2] in ((SIDE, SIDE), (1, 1))


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, reason = BAD_IMAGES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_image(tmp_path / name)
    assert name in str(refused.value) and reason in str(refused.value) and not (tmp_path / "unpickled").exists()


def test_few_bits_fill_the_range_and_a_black_image_of_16_bits_is_told(tmp_path):
    (tmp_path / "white.tif").write_bytes(tiff_of_bits(4))
    assert read_image(tmp_path / "white.tif").min() == 255
    (tmp_path / "dark.tif").write_bytes(tiff(np.full((SIDE, SIDE, 3), 4095, np.uint16)))
    with pytest.warns(UserWarning, match="dark.tif: 16 bits, but no value over 4095"):
        read_image(tmp_path / "dark.tif")


def test_a_mask_in_jpeg_is_what_is_white_in_it(tmp_path):
    drawn = np.zeros((SIDE, SIDE), np.uint8)
    drawn[8:30, 10:31] = 255
    (tmp_path / "mask.jpg").write_bytes(encoded(Image.fromarray(drawn), "JPEG"))
    assert (read_mask(tmp_path / "mask.jpg") == (drawn > 0)).all()


@pytest.mark.parametrize("name", ["folder.png", "circle.png", "nowhere.png"])
def test_what_only_looks_like_a_file_is_named(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "nowhere.png").symlink_to("gone")
    with pytest.raises(InputError, match=f"{name}: a (folder|link)"):
        read_image(tmp_path / name)
    assert check_outputs([tmp_path / "out.png"], [tmp_path / name]) == []


def test_a_name_that_is_no_text_is_refused(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb") as file:
        file.write(encoded(picture()))
    with pytest.raises(InputError, match="a name that is no text"):
        image_files(tmp_path)


def test_json_may_begin_with_the_mark_of_windows(tmp_path):
    (tmp_path / "split.json").write_bytes(b'\xef\xbb\xbf{"train": []}')
    assert read_json(tmp_path / "split.json") == {"train": []}


@pytest.mark.parametrize(
    "image",
    [
        None, "image.png", [], [[1, 2], [3]], np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 5), np.uint8), 3.0,
        np.zeros((2, 4, 4, 3), np.uint8), np.zeros((4, 4), np.int64), np.full((4, 4), np.nan), np.full((4, 4), 2.0),
        np.array([["a", "b"]]), np.zeros((4, 4), object), np.zeros((4, 4), np.complex64), {"image": 1},
    ],
)  # fmt: skip
def test_a_bad_array_is_refused(image):
    with pytest.raises(InputError, match="image: "):
        as_rgb(image)


# --- label maps ---

GOOD_LABELS = {
    "gaps.tif": tiff((LABELS * 1000).astype(np.uint16)),
    "pieces.png": encoded(Image.fromarray(LABELS.astype(np.uint8))),  # each label lies in many pieces
    "binary.png": encoded(Image.fromarray(((LABELS > 2) * 255).astype(np.uint8))),
    "bool.npy": npy(LABELS > 2),
    "float.npy": npy(LABELS.astype(np.float64)),
    "int64.npy": npy(LABELS.astype(np.int64)),
    "one_page.tif": tiff(LABELS[None].astype(np.uint16)),
    "no_nucleus.tif": tiff(np.zeros((SIDE, SIDE), np.uint16)),
    "palette.png": encoded(picture("P")),
}
BAD_LABELS = {
    "empty.tif": (b"", "not a readable label map"),
    "empty.npy": (b"", "not a readable label map"),
    "empty.mat": (b"", "not a readable label map"),
    "text.mat": (b"inst_map = [1 2 3]", "not a readable label map"),
    "truncated.npy": (npy(LABELS)[:-9], "not a readable label map"),
    "truncated.tif": (tiff(LABELS.astype(np.uint16))[:600], "not a readable label map"),
    "negative.npy": (npy(LABELS - 1), "labels from -1 to 3"),
    "fractions.npy": (npy(FLOATS), "with fractions"),
    "nan.npy": (npy(with_value(FLOATS, np.nan)), "NaN or infinite"),
    "inf.tif": (tiff(with_value(FLOATS, np.inf)), "NaN or infinite"),
    "rgb.png": (encoded(picture()), "one integer a pixel"),
    "rgba.png": (encoded(picture("RGBA")), "one integer a pixel"),
    "stack.npy": (npy(np.zeros((3, SIDE, SIDE), bool)), "one integer a pixel"),
    "row.npy": (npy(np.arange(5)), "one integer a pixel"),
    "complex.npy": (npy(LABELS.astype(np.complex128)), "complex128 pixels"),
    "text.npy": (npy(np.array([["a", "b"]])), "pixels"),
    "times.npy": (npy(np.array([["2020-01-01"]], "M8[D]")), "pixels"),
    "huge_label.npy": (npy(with_value(LABELS.astype(np.int64), 2**40)), "labels from"),
    "pickled.npy": (npy(np.array([Bomb()], object), allow_pickle=True), "not a readable label map"),
    "records.npy": (npy(np.zeros((2, 2), [("a", int)])), "pixels"),
    "two_pictures.tif": (two_pictures(SIDE, SIDE + 1), "2 pictures in one file"),
    "as_jpeg.png": (encoded(picture("L"), "JPEG"), "compressed as JPEG"),
    "as_jpeg.tif": (encoded(picture("L"), "TIFF", compression="jpeg"), "compressed as JPEG"),
    "animated.png": (frames("PNG"), "2 frames"),
    "one_too_many.npy": (npy(np.full((4, 4), 2.0**31, np.float32)), "labels from"),
    "bomb.npy": (claimed_npy(10**6, 10**6), ""),
    "bomb.png": (claimed_png(50_000, 50_000), "are the most"),
    "zip.npy": (b"PK\x03\x04" + bytes(60), "not a readable label map"),
}


@pytest.mark.parametrize("name", GOOD_LABELS)
def test_an_unusual_label_map_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(GOOD_LABELS[name])
    labels = read_label_map(tmp_path / name)
    assert labels.dtype == np.int32 and labels.shape == (SIDE, SIDE)


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_bad_label_map_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, reason = BAD_LABELS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_label_map(tmp_path / name)
    assert name in str(refused.value) and reason in str(refused.value) and not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("labels", [np.arange(5000).repeat(4).reshape(100, 200), np.arange(900).reshape(30, 30)])
def test_many_nuclei_and_nuclei_of_one_pixel_are_scored(tmp_path, labels):
    for side in ("pred", "gt"):
        write_label_map(tmp_path / side / "a.tif", labels.astype(np.int32))
    assert evaluate_folders(tmp_path / "pred", tmp_path / "gt")["mean"]["aji"] == 1.0


# --- commands ---

HEAD, WHOLE = b"image,y,x,size,answer,time,who\n", b"a,0,0,16,yes,t,me\na,0,16,16,no,t,me\na,16,0,16,yes,t,me\n"
GOOD_ANSWERS = {"good": HEAD + WHOLE + b"b,0,0,16,no,t,me\n", "more": HEAD + WHOLE + b"b,9,9,16,no,t,me\n"}
BAD_ANSWERS = {
    "empty": b"", "header": b"image,answer\na,yes\n", "none": HEAD, "few": HEAD + WHOLE,
    "word": HEAD + WHOLE + b"b,0,0,16,maybe,t,me\n", "negative": HEAD + WHOLE + b"b,-1,0,16,no,t,me\n",
    "fraction": HEAD + WHOLE + b"b,0.5,0,16,no,t,me\n", "size": HEAD + WHOLE + b"b,0,0,32,no,t,me\n",
    "outside": HEAD + WHOLE + b"b,40,0,16,no,t,me\n", "huge": HEAD + WHOLE + b"b,%s,0,16,no,t,me\n" % (b"9" * 5000),
    "torn": HEAD + b"a,0,0\n" + WHOLE, "others": HEAD + WHOLE.replace(b"a,", b"z,") + b"z,9,9,16,no,t,me\n",
    "quote": HEAD + WHOLE + b'"b,0,0,16,no,t,me\n', "null": HEAD + WHOLE + b"b\0,0,0,16,no,t,me\n",
    "utf16": (HEAD + WHOLE).decode().encode("utf-16"),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Good data, tiles and weights, and bad files of every kind."""
    root = tmp_path_factory.mktemp("bad")
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[4:20, 4:20] = 1
    for name in ("a", "b"):
        write_image(root / f"data/images/{name}.png", np.asarray(picture()))
        write_label_map(root / f"data/labels/{name}.tif", labels)
        write_image(root / f"unlabelled/images/{name}.png", np.asarray(picture()))
    models = Models(load_config((), TINY))
    models.save_mask_rcnn(root / "good.h5")
    good = (root / "good.h5").read_bytes()
    with zipfile.ZipFile(root / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    contents = {
        "empty.h5": b"", "text.h5": b"no weights", "truncated.h5": good[: len(good) // 2], "head.h5": good[:600],
        "pickled.h5": pickle.dumps(Bomb()), "image.h5": encoded(picture()),
        "empty.yaml": b"", "false.yaml": b"false\n", "list.yaml": b"- 1\n- 2\n",
        "text.yaml": b"only text\n", "twice.yaml": b"seed: 1\nseed: 2\n",
        "twice_within.yaml": b"tiles: {size: 32, size: 48}\n", "tab.yaml": b"tiles:\n\tsize: 3\n",
        "object.yaml": b"seed: !!python/object/apply:os.getcwd []\n", "binary.yaml": b"\xff\xfe\x00",
        "nested.yaml": b"[" * 5000, "number.yaml": b"seed: " + b"9" * 5000 + b"\n", "date.yaml": b"seed: 2020-13-45\n",
        "tagged.yaml": b"seed: !!bool maybe\n", "unhashable.yaml": b"? [1]\n: 2\n", "itself.yaml": b"a: &a [*a]\n",
        "keys.yaml": b"1: 2\nnull: 3\n", "none.yaml": b"tiles: null\n", "base.yaml": b"base: base.yaml\n",
        "aliases.yaml": b"a: &a [x, x, x, x, x, x, x, x, x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (k, k, b", ".join([b"*%c" % (k - 1)] * 9)) for k in range(ord("b"), ord("k"))),
        "list.json": b"[]", "broken.json": b'{"images": [', "null.json": b"null", "no_images.json": b"{}",
        "huge.json": b'{"images": [{"id": 1, "file_name": "a.png", "height": 1e999, "width": 9}], "annotations": []}',
        "large.json": b'{"images": [{"id": 1, "file_name": "a.png", "height": 99999999, "width": 99999999}],'
        b'"annotations": []}',
        "nested.json": b"[" * 100_000,
        **{f"answers_{name}.csv": content for name, content in (BAD_ANSWERS | GOOD_ANSWERS).items()},
    }  # fmt: skip
    for name, content in contents.items():
        (root / name).write_bytes(content)
    models.save_classifier(root / "classifier.h5")
    with h5py.File(root / "foreign.h5", "w") as file:
        file.create_dataset("weights", data=np.ones(3))
    with h5py.File(root / "good.h5") as source, h5py.File(root / "nan.h5", "w") as file:
        for key, value in source.attrs.items():
            file.attrs[key] = value
        for key in source:
            source.copy(source[key], file, key)
        kernel = next(iter(file["mrcnn_class_logits"]["mrcnn_class_logits"].values()))
        kernel[...] = np.nan
        del file["mrcnn_class_logits"].attrs["checksum"]
    for kind, name, content in [
        *(("images", name, content) for name, (content, _) in BAD_IMAGES.items()),
        *(("labels", name, content) for name, (content, _) in BAD_LABELS.items()),
    ]:
        folder = root / f"{kind}_{name}"
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
        (folder / "images" / (name if kind == "images" else "a.png")).write_bytes(
            content if kind == "images" else encoded(picture())
        )
        stem, suffix = name.rsplit(".", 1)
        if kind == "labels":
            (folder / f"labels/a.{suffix}").write_bytes(content)
        else:
            write_label_map(folder / f"labels/{stem}.tif", labels)
    splits = {
        "twice": {"train": ["a", "a"]}, "both": {"train": ["a"], "val": ["a"]}, "missing": {"train": ["z"]},
        "nothing": {"train": []}, "name": {"training": ["a"]}, "no_train": {"val": ["a"]}, "list": ["a"],
        "word": {"train": "a"}, "object": {"train": {"a": 1}}, "val": {"train": ["a"], "val": None},
        "text": "train", "number": {"train": [1]}, "nested": {"train": [["a"]]}, "null": {"train": [None]},
    }  # fmt: skip
    for name, content in splits.items():
        write_image(root / f"split_{name}/images/a.png", np.asarray(picture()))
        (root / f"split_{name}/split.json").write_text(json.dumps(content))
    for name, sizes in {"sizes": (32, 40), "same": (32, 32)}.items():
        for kind, side in zip(("positive", "negative"), sizes, strict=True):
            write_image(root / f"tiles_{name}/{kind}/a_0_0.png", np.asarray(picture(side=side)))
    write_image(root / f"long/{'a' * 250}.png", np.asarray(picture()))
    for name in ("pipe", "pipe.h5"):
        os.mkfifo(root / name)
    write_label_map(root / "small/a.tif", labels[:20])
    write_label_map(root / "small/b.tif", labels[:20])
    (root / "file").write_text("mine")
    return root


TRAIN = ("train", "--out", "out", "--data", "data", "--set", "tiles.size=16")
PREDICT = ("predict", "--out", "out")
EVALUATE = ("evaluate", "--gt", "data/labels", "--json", "out/scores.json")
TILES = ("tiles", "--out", "out", "--size", "16")
ADAPT = ("adapt", "data", "--out", "out", "--weights")
STAGES = ("classifier", "pseudo-masks", "mask-rcnn")
# Lines that are no error: warnings, and how far the work is.
BESIDE = re.compile("warning: |[^:]+: [0-9]+/[0-9]+")
# Command, and what the line names.
REFUSED = [
    *(((*TRAIN[:5], "--config", f"{name}.yaml"), f"{name}.yaml") for name in (
        "empty", "false", "list", "text", "twice", "twice_within", "tab", "object", "binary", "nested", "number",
        "date", "tagged", "unhashable", "itself", "keys", "none", "base", "aliases",
    )),
    *(((*TRAIN, "--set", setting), setting.split("=")[0]) for setting in (
        "seed=-1", "seed=yes", "seed=1.5", "seed=.nan", "cycles=0", "scale=0", "scale=99", "mpp=0", "mpp=.inf",
        "mean_pixel=[1, 2]", "mean_pixel=[.nan, 1, 1]", "mean_pixel=[300, 1, 1]", "tiles.size=0", "tiles.size=64000",
        "tiles.stride=-3", "tiles.count=1", "classifier.levels=[]", "classifier.levels=[C2, C2]",
        "classifier.levels=[C9]",
        "classifier.learning_rate=.inf", "classifier.learning_rate=0", "classifier.share=0", "classifier.steps=ten",
        "maps.method=nothing", "maps.level=C5", "pseudo.factors=[]", "pseudo.factors=[0]", "pseudo.count=0",
        "pseudo.share=2", "mask_rcnn.crop=100", "mask_rcnn.crop=64000", "mask_rcnn.anchor_scales=[16, 32]",
        "mask_rcnn.anchor_scales=[-1, 2, 3, 4, 5]", "mask_rcnn.anchor_scales=[0, 2, 3, 4, 5]", "mask_rcnn.batch=0",
        "mask_rcnn.width=[0, 1, 1, 1]", "mask_rcnn.width=huge", "rounds.count=-1", "rounds.ignore_score=1",
        "rounds.students=-1", "detection.tile=1", "detection.overlap=576", "detection.usual_area=.inf",
        "detection.views=9", "detection.score=.nan", "backbone.name=resnet9", "backbone.nmae=vgg16", "nothing=1",
        "=3", "seed", "tiles=3", "tiles.folder=nowhere",
        "precision=float8", "supervision=[image]", "seed: 3",
    )),
    *(((*TRAIN[:3], "--data", f"split_{name}"), f"split_{name}") for name in (
        "twice", "both", "missing", "nothing", "name", "no_train", "list", "text", "number", "nested", "null",
        "word", "object", "val",
    )),
    ((*TRAIN, "--set", "seed.more=1"), "seed"),
    ((*TRAIN, "--set", "backbone.weights=nowhere.h5"), "nowhere.h5"),
    ((*TRAIN, "--out", "file"), "file"),
    ((*TRAIN, "--out", "file/in"), "file"),
    ((*TRAIN, "--out", "/proc/none"), "/proc/none"),
    ((*TRAIN, "--resume"), "out"),
    ((*TRAIN[:3], "--data", "unlabelled"), "unlabelled"),
    ((*TRAIN[:3], "--data", "data/images"), "data/images"),
    ((*TRAIN[:3], "--data", "data", "--set", "tiles.size=64"), "a.png"),
    ((*TRAIN[:3], "--data", "data", "--set", "tiles.folder=tiles_sizes", "--set", "tiles.size=32"), "a_0_0.png"),
    ((*TRAIN[:3], "--data", "data", "--set", "tiles.folder=tiles_same", "--set", "tiles.size=32"), "a_0_0.png lies in"),
    ((*TRAIN, "--set", "backbone.weights=text.h5"), "text.h5"),
    *(((*given, "--answers", f"answers_{name}.csv"), f"answers_{name}.csv")
      for given in (TRAIN[:5], ("enough", "--data", "data")) for name in BAD_ANSWERS),
    ((*TRAIN[:5], "--answers", "image.h5"), "image.h5"),
    ((*TRAIN[:5], "--answers", "data"), "data"),
    ((*TRAIN[:5], "--answers", "answers_good.csv", "--answers", "answers_more.csv"), "answers_more.csv: 2 files"),
    ((*TRAIN[:5], "--data", "unlabelled", "--answers", "answers_good.csv"), "a file of answers for each --data"),
    ((*TRAIN[:5], "--answers", "answers_good.csv", "--set", "tiles.size=32"), "--set tiles.size=16"),
    ((*TRAIN[:5], "--answers", "answers_good.csv", "--set", "tiles.folder=tiles_same"), "exclude each other"),
    ((*TRAIN[:3], "--data", "data", "--set", "tiles.folder=data", "--set", "tiles.size=32"), "data/negative"),
    (("enough", "--data", "data"), "--answers"),
    (("label", "data", "--out", "answers_good.csv", "--size", "32"), "give --size 16"),
    (("label", "data", "--out", "answers_header.csv", "--size", "16"), "answers_header.csv"),
    (("label", "data", "--out", "file/in.csv", "--size", "16"), "file: no folder"),
    (("label", "data", "--out", "out/a.csv", "--size", "49"), "smaller than a tile"),
    (("label", "data", "data/images", "--out", "out/a.csv", "--mpp", "0.5"), "no slides"),
    (("label", "small", "--out", "out/a.csv"), "small"),
    (("label", "nowhere", "--out", "out/a.csv"), "nowhere"),
    (("label", "--merge", "answers_good.csv", "--out", "out/a.csv"), "two files"),
    (("label", "--merge", "answers_good.csv", "answers_torn.csv", "--out", "out/a.csv"), "answers_torn.csv"),
    (("label", "--merge", "answers_good.csv", "answers_more.csv", "--out", "file"), "file"),
    (("report", "data"), "data"),
    (("report", "nowhere"), "nowhere"),
    (("demo", "--out", "file"), "file"),
    *(((*PREDICT, "data/images", "--weights", f"{name}"), name) for name in (
        "empty.h5", "text.h5", "truncated.h5", "head.h5", "pickled.h5", "image.h5", "foreign.h5", "nan.h5",
        "model.keras", "classifier.h5", "data", "nowhere.h5",
    )),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--classifier", "text.h5"), "text.h5"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--classifier", "good.h5"), "good.h5"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--mpp", "nan"), "mpp"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--mpp", "99"), "mpp"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--score", "nan"), "score"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--format", "png"), "png"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--set", "seed=3"), "seed"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--set", "detection.tile=3"), "detection.tile"),
    ((*PREDICT, "good.h5", "--weights", "good.h5"), "good.h5"),
    (("predict", "data/images", "--weights", "good.h5", "--out", "file"), "file"),
    (("predict", "data/images", "--weights", "good.h5", "--out", "/proc/none"), "/proc/none"),
    *(((*PREDICT, f"images_{name}/images", "--weights", "good.h5"), name) for name in ("nan.tif", "bomb.png")),
    *(((*EVALUATE, "--pred", name), name) for name in (
        "list.json", "broken.json", "null.json", "no_images.json", "huge.json", "large.json", "nested.json", "good.h5",
        "small", "nowhere", "data/images", "=data/labels",
    )),
    ((*EVALUATE, "--pred", "data/labels", "--iou", "1"), "1"),
    ((*EVALUATE, "--pred", "data/labels", "--iou", "nan"), "nan"),
    ((*EVALUATE, "--pred", "data/labels", "--mpp", "-1"), "mpp"),
    ((*EVALUATE, "--pred", "data/labels", "--mpp", "1e300"), "mpp"),
    ((*PREDICT, "data/images", "--weights", "data", "--tissue", "none"), "data: a folder"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--scheduler", "nowhere.json"), "nowhere.json: no such file"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--scheduler", "list.json"), "list.json: no address"),
    (("models", "add", "good.h5", "--name", "bad", "--mpp", "inf"), "mpp"),
    ((*EVALUATE, "--pred", "data/labels", "--csv", "out/scores.json"), "out/scores.json"),
    ((*EVALUATE, "--pred", "data/labels", "--markdown", "file"), "file"),
    ((*EVALUATE, "--pred", "data/labels", "--baseline", "images_empty.png/images"), "no image for a"),
    *(((*EVALUATE[:1], "--gt", f"labels_{name}/labels", "--pred", f"labels_{name}/labels"), f"a.{name.rsplit('.')[-1]}")
      for name in BAD_LABELS),
    *(((*TILES, "--images", f"images_{name}/images", "--labels", f"images_{name}/labels"), name)
      for name in ("empty.png", "truncated.png", "animated.png", "nan.tif", "bomb.png")),
    *(((*TILES, "--images", f"labels_{name}/images", "--labels", f"labels_{name}/labels"), "a.")
      for name in ("negative.npy", "fractions.npy", "rgb.png", "pickled.npy")),
    ((*TILES, "--images", "data/images", "--labels", "small"), "a.tif"),
    ((*TILES, "--images", "data/images", "--labels", "data/labels", "--min-coverage", "nan"), "min"),
    ((*TILES[:3], "--images", "data/images", "--labels", "data/labels", "--size", "49"), "size"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--region", "40,0,9,9"), "region 40,0,9,9"),
    ((*PREDICT, "data/images", "--weights", "good.h5", "--tissue", "list.json"), "list.json: no polygons"),
    ((*PREDICT, "long", "--weights", "good.h5", "--format", "geojson"), "more than 255 bytes"),
    ((*PREDICT, "data/images", "--weights", "pipe.h5"), "pipe.h5: a pipe or device"),
    ((*EVALUATE[:3], "--pred", "data/labels", "--json", "pipe", "--overwrite"), "pipe: a pipe or device"),
    ((*EVALUATE[:3], "--pred", "data/labels", "--json", ""), "empty argument"),
    (("predict", "data/images", "--out="), "empty argument"),
    ((*TRAIN, "--out", "data"), "data: holds"),
    ((*TRAIN, "--set", "mask_rcnn.devices=2"), "2 devices asked for"),
    *(((stage, *TRAIN[1:], *more), named) for stage in STAGES for more, named in (
        (("--data", "unlabelled"), "unlabelled"), (("--out", "data"), "data: holds"), (("--set", "sed=1"), "seed"),
        (("--config", "twice.yaml"), "twice.yaml"),
    )),
    *(((*ADAPT, name), name) for name in ("text.h5", "nan.h5", "data", "nowhere.h5")),
    ((*ADAPT, "good.h5"), "good.h5: holds no tile classifier"),
    ((*ADAPT, "he-nuclei", "--set", "scale=1"), "scale"),
    ((*ADAPT, "he-nuclei", "--tiles", "data"), "data/negative"),
    ((*ADAPT, "he-nuclei", "--out", "file"), "file"),
    (("adapt", "small", "--out", "out", "--weights", "he-nuclei"), "small"),
    (("prepare", "pannuke", "data", "new"), "data: no images.npy"),
    (("prepare", "monusac", "data/images", "new"), "data/images: not a download of monusac"),
    (("prepare", "monuseg", "tiles_same", "new"), "tiles_same: no image"),
    (("prepare", "monuseg", "data", "new", "--crop", "10"), "--crop 10"),
    (("prepare", "monuseg", "data", "file"), "file"),
    *((("prepare", "monuseg", f"labels_{name}", "new"), "a.") for name in ("negative.npy", "nan.npy", "rgb.png")),
    (("prepare", "monuseg", "images_truncated.png", "new"), "truncated.png"),
    (("label", "data", "--out", "out/a.csv", "--size", "16", "--weights", "text.h5"), "text.h5"),
    *((("models", *more), named) for more, named in (
        ((), "Missing command"), (("info", "nowhere"), "nowhere"), (("get", "nowhere"), "nowhere"),
        (("add", "text.h5", "--name", "x"), "text.h5"), (("add", "good.h5", "--name", "A B"), "A B"),
        (("add", "https://example.org/x.h5", "--name", "x"), "--sha256"),
    )),
    (("doctor", "more"), "more"),
    (("tiles", "--images", "tiles_sizes"), "a_0_0.png"),
    (("tiles", "--images", "data"), "data"),
    ((*TILES, "--out", "file", "--images", "data/images", "--labels", "data/labels"), "file"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "named"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_a_command_refuses_in_one_line(place, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    err = [line for line in capsys.readouterr().err.splitlines() if not BESIDE.match(line)]
    assert end.value.code == 2 and len(err) == 1 and err[0].startswith("error: ") and named in err[0], err
    assert len(err[0]) < 1000
    left = [path for path in sorted(place.rglob("*")) if path not in before and not path.is_dir()]
    assert left == [] and (place / "file").read_text() == "mine"


def test_the_table_has_its_length():
    assert len(REFUSED) + len(BAD_IMAGES) + len(BAD_LABELS) >= 200
    commands = typer.main.get_command(cli.app).commands
    assert {arguments[0] for arguments, _ in REFUSED} == {name for name in commands if not commands[name].hidden}


@pytest.mark.parametrize(
    "call",
    [
        lambda place: cyclic.Predictor.load(place / "nan.h5"),
        lambda place: cyclic.Predictor.load(place / "good.h5", ["detection.score=2"]),
        lambda place: cyclic.Predictor.load(place / "good.h5", classifier=place / "good.h5"),
        lambda place: evaluate_folders(place / "data/labels", place / "nowhere"),
        lambda _: cyclic.evaluate(np.zeros((3, 3), int), np.zeros((3, 4), int)),
        lambda _: cyclic.evaluate(np.full((3, 3), 0.5), np.zeros((3, 3), int)),
        lambda _: cyclic.evaluate(3, 3),
        lambda _: cyclic.evaluate(np.full((3, 3), -1), np.zeros((3, 3), int)),
        lambda _: cyclic.evaluate(np.ones((3, 3), int), np.ones((3, 3), int), mpp="0.25"),
        lambda _: cyclic.evaluate(np.ones((3, 3), int), np.ones((3, 3), int), confidence=[np.nan]),
        lambda place: cyclic.Predictor.load(place / "good.h5", "detection.score=0.5"),
        lambda place: load_config(place / "aliases.yaml"),
        lambda place: RunDirectory(place / "file", {}),
    ],
)
def test_the_python_door_refuses_by_name(place, call):
    with pytest.raises(ValueError) as refused:  # an InputError is one
        call(place)
    assert "\n" not in str(refused.value)


def test_the_python_door_says_what_a_mask_of_all_nuclei_counts_as():
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[2:9, 2:9] = labels[20:30, 20:30] = 255
    with pytest.warns(UserWarning, match="^pred: one label in many pieces, scored as one nucleus"):
        assert cyclic.evaluate(labels, np.arange(SIDE * SIDE).reshape(SIDE, SIDE))["n_pred"] == 1
