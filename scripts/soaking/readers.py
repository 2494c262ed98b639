"""Damaged files for every reader: each is read, or refused with an `InputError`, and nothing else happens.

The files are whole ones with bytes changed, lost, doubled or put in, some of them text that formats trip over.
"""

import contextlib
import copy
import io
import json
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
import tifffile
import yaml
from PIL import Image

from cyclic.config import RunConfig, load_config
from cyclic.cycle.checks import check_same_data
from cyclic.datasets.answers import COLUMNS, NO, YES, Answer, read_answers
from cyclic.datasets.aperio import read_outlines
from cyclic.datasets.class_maps import read_class_map
from cyclic.datasets.layouts import open_dataset, open_splits
from cyclic.datasets.pannuke import PannukeFolds
from cyclic.datasets.tile_folder import CLASSES
from cyclic.datasets.tile_writing import Tile, find_cut
from cyclic.errors import InputError
from cyclic.evaluation.sources import open_source
from cyclic.files import MARK, SUMS, check_outputs, digest, write_image, write_json
from cyclic.images import read_image, read_shape
from cyclic.inference.export.coco import export_coco
from cyclic.inference.export.geojson import export_geojson
from cyclic.inference.folder import COCO, COCO_RESULTS, check_earlier
from cyclic.inference.stitch import TileDetections
from cyclic.label_maps import read_label_map, read_mask, write_label_map
from cyclic.models.card import Card, read_card
from cyclic.resolution import read_resolution
from cyclic.runs.directory import read_events, read_run_config
from cyclic.runs.paths import RunPaths
from cyclic.runs.state import State, read_metrics, read_state
from cyclic.slides.chunks import ChunkDetections, read_detections, write_detections
from cyclic.slides.tissue import read_polygons
from cyclic.slides.work import WorkFolder

SIDE = 12
OURS = {"info": MARK}
# What parsers trip over: numbers beyond their type, values of another type, nesting, other characters.
WORDS = (
    b"1e999", b"-1", b"NaN", b"Infinity", b"null", b"[]", b"{}", b'""', b"99999999999999999999", b"0", b"true", b"[[",
    b"\xff\xfe", b"\x00", b"*a", b"&a ", b"!!int ", b"<", b"&lt;", b": ", b"\n- ", b"1.5", b"'", b'"',
)  # fmt: skip


# The same for values of JSON that stays valid.
VALUES = (
    None, True, -1, 0, 3, 1.5, 1e300, -1e300, float("nan"), float("inf"), 2**70, "", "a", "\ud800", "1", "../a", [], {},
    [[]], [1], ["a"], {"a": 1}, [[1, 2], [3, 4]], "x" * 300,
)  # fmt: skip


class Reader(NamedTuple):
    """A reader under test.

    Attributes:
        name: the file's name; readers go by its suffix.
        read: what is called with the damaged file.
        whole: the contents of undamaged files.
    """

    name: str
    read: Callable[[Path], object]
    whole: list[bytes]

    def __repr__(self) -> str:
        return f"Reader({self.name!r})"


class Defect(NamedTuple):
    """A file that a reader neither read nor refused."""

    reader: str
    content: bytes
    error: str


def make_readers(folder: Path) -> dict[str, Reader]:
    """Return every reader by what it reads; `folder` takes the files that lie beside the damaged one."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    labels = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 4).astype(np.int32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)

    def picture(format_: str, mode: str = "RGB", **options: object) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgb).convert(mode).save(buffer, format_, **options)
        return buffer.getvalue()

    def tiff(array: np.ndarray, **options: object) -> bytes:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, **options)
        return buffer.getvalue()

    def saved(save: Callable, *arguments: object) -> bytes:
        buffer = io.BytesIO()
        save(buffer, *arguments)
        return buffer.getvalue()

    def written(name: str, write: Callable, *arguments: object) -> bytes:
        write(folder / name, *arguments)
        return (folder / name).read_bytes()

    def read_picture(path: Path) -> None:
        read_shape(path)
        read_resolution(path)
        read_image(path)

    def read_source(path: Path) -> None:
        for read in open_source(path).readers.values():
            read()

    def read_scores(path: Path) -> None:
        write_label_map(path.with_suffix(".tif"), labels)
        read_source(path.parent)

    def read_split(path: Path) -> None:
        write_image(path.parent / "images/a.png", rgb)
        write_image(path.parent / "images/b.png", rgb)
        open_splits(path.parent)

    def read_data(path: Path) -> None:
        write_image(path.parent / "data/images/a.png", rgb)
        check_same_data(path, "data", open_dataset(path.parent / "data"), None)

    def read_fold(path: Path) -> None:
        np.save(path.with_name("masks.npy"), np.zeros((2, SIDE, SIDE, 6)))
        data = PannukeFolds(path.parent.parent)
        for name in data.ids:
            data.image(name)
            data.label_map(name)

    def read_work(path: Path) -> None:
        results = [path.parent.parent / "a.csv"]
        for result in results:
            result.touch()
        work = WorkFolder(path.parent.parent, "a", {"format": 1})
        work.finished(results)
        with work.at_work():
            pass

    def read_record(path: Path) -> None:
        for name in CLASSES:
            (path.parent / name).mkdir(exist_ok=True)
        find_cut(path.parent, CLASSES, {"size": 8, "count": None})

    def read_sums(path: Path) -> None:
        write_json(path.with_name("a.json"), OURS)
        check_outputs([path.with_name("a.json")])

    def read_earlier(path: Path) -> None:
        check_earlier(path.parent, ["a.png"], ("coco", "coco-results"))

    data_file = folder / "known" / "data.json"
    data_file.parent.mkdir()
    read_data(data_file)
    chunk = ChunkDetections(
        np.array([3]),
        [TileDetections((0, 0, 16, 16), np.array([[1, 1, 5, 6]], np.int32), scores[:1], [np.eye(4, 5, dtype=bool)])],
    )
    ours = folder / "ours.json"
    write_json(ours, OURS)
    given = [Answer(Tile("a", 0, x), 8, word, "2026-01-01T10:00:00+00:00", "anna") for x, word in ((0, YES), (8, NO))]
    answers = ",".join(COLUMNS) + "\n" + "".join(line.line() for line in given)
    tiffs = [
        tiff(rgb),
        tiff(rgb, compression="zlib", resolution=(40_000, 40_000), resolutionunit="CENTIMETER"),
        tiff(rgb, tile=(16, 16), compression="lzw", predictor=True),
        tiff(rgb[..., 0].astype(np.float32) / 255, metadata={"axes": "YX"}),
        tiff(rgb, description="Aperio Image Library\r\n12x12|MPP = 0.25"),
    ]
    label_tiffs = [written("a.tif", write_label_map, labels), tiff(labels.astype(np.uint16))]
    square = '<Region NegativeROA="0"><Vertices>{}</Vertices></Region>'.format(
        "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for y, x in ((1, 1), (1, 8), (8, 8), (8, 1)))
    )
    xml = (
        f'<Annotations><Annotation><Attribute Name="Epithelial"/><Regions>{square}</Regions></Annotation></Annotations>'
    )
    row = {"source": "model", "cycle": 1, "round": 0, "split": "val", "aji": 0.5}
    state = State(finished=["tiles"], seconds={"tiles": 1.0}, rows=[row], files={"tiles": {"tiles/a.png": "0" * 64}})
    config = yaml.safe_dump(RunConfig().model_dump(mode="json")).encode()
    polygon = {"id": 1, "image_id": 1, "category_id": 1, "score": 0.5, "segmentation": [[1, 1, 8, 1, 8, 8.5]]}
    runs = {
        "id": 2,
        "image_id": 1,
        "category_id": 2,
        "score": 0.5,
        "segmentation": {"size": [12, 12], "counts": [9, 135]},
    }
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 12, "width": 12}],
        "annotations": [polygon, runs],
        "categories": [{"id": 1}, {"id": 2}],
    }
    return {
        "png": Reader("a.png", read_picture, [picture("PNG"), picture("PNG", "P"), picture("PNG", "LA", dpi=(96, 96))]),
        "jpeg": Reader("a.jpg", read_picture, [picture("JPEG"), picture("JPEG", "CMYK"), picture("JPEG", "L")]),
        "bmp": Reader("a.bmp", read_picture, [picture("BMP"), picture("BMP", "1")]),
        "tiff": Reader("a.tif", read_picture, tiffs),
        "labels tiff": Reader("a.tif", read_label_map, label_tiffs),
        "labels png": Reader("a.png", read_label_map, [picture("PNG", "L"), picture("PNG", "P")]),
        "labels npy": Reader("a.npy", read_label_map, [saved(np.save, labels), saved(np.save, labels.astype(float))]),
        "labels mat": Reader("a.mat", read_label_map, [saved(scipy.io.savemat, {"inst_map": labels})]),
        "mask": Reader("a.png", read_mask, [picture("PNG", "1"), picture("PNG", "RGBA")]),
        "aperio xml": Reader("a.xml", lambda path: read_outlines(path, (SIDE, SIDE)), [xml.encode()]),
        "coco": Reader(
            "a.json",
            read_source,
            [written("b.json", export_coco, {"a.png": (labels, scores)}), json.dumps(coco).encode()],
        ),
        "geojson": Reader("a.geojson", read_scores, [written("b.geojson", export_geojson, labels, scores, 0.25)]),
        "split": Reader("split.json", read_split, [b'{"train": ["a"], "val": ["b"], "organ": {"a": "liver"}}']),
        "configuration": Reader("a.yaml", load_config, [config, b"seed: 3\ntiles: {size: 32}\nmpp: null\n"]),
        "run config": Reader("config.yaml", lambda path: read_run_config(path.parent), [config]),
        "state": Reader(
            "state.json", lambda path: read_state(RunPaths(path.parent)), [state.model_dump_json(indent=1).encode()]
        ),
        "metrics": Reader(
            "metrics.json", lambda path: read_metrics(RunPaths(path.parent)), [json.dumps({"rows": [row]}).encode()]
        ),
        "log": Reader("log.jsonl", read_events, [b'{"event": "data", "folder": "a"}\n{"event": "start"}\n']),
        "data of a run": Reader("data.json", read_data, [data_file.read_bytes()]),
        "answers": Reader("a.csv", read_answers, [answers.encode()]),
        "classes mat": Reader(
            "a.mat", lambda path: read_class_map(path, labels.shape), [saved(scipy.io.savemat, {"type_map": labels})]
        ),
        "pannuke": Reader("fold1/images.npy", read_fold, [saved(np.save, np.zeros((2, SIDE, SIDE, 3), np.uint8))]),
        "tiles record": Reader(
            "tiles.json", read_record, [b'{"settings": {"size": 8}, "counts": {"positive": 0, "negative": 0}}']
        ),
        "model card": Reader(
            "a.json",
            read_card,
            [Card(name="a", source="a.h5", sha256="0" * 64, licence="none", mpp=0.25).as_json().encode()],
        ),
        "tissue": Reader("a.geojson", read_polygons, [written("c.geojson", export_geojson, labels, scores, 0.25)]),
        "list of sums": Reader(SUMS, read_sums, [f"# writing  a.json\n{digest(ours)}  a.json\n".encode()]),
        "earlier coco": Reader(COCO, read_earlier, [json.dumps(coco).encode()]),
        "earlier results": Reader(COCO_RESULTS, read_earlier, [b'[{"image_id": 1, "score": 0.5}]']),
        "slide work": Reader(
            ".a.cyclic/done.json", read_work, [b'{"settings": {"format": 1}, "results": ["a.csv"], "nuclei": 3}']
        ),
        "slide settings": Reader(".a.cyclic/settings.json", read_work, [b'{"format": 1}']),
        "slide chunk": Reader("0_0.npz", read_detections, [written("0_0.npz", write_detections, chunk)]),
    }


def weights_reader(folder: Path) -> Reader:
    """Return the reader of weights files. HDF5 is native code, so it is tried in a process of its own."""
    import keras

    from cyclic.mrcnn.weights.h5 import load_weights, read_attributes, save_weights

    def build() -> "keras.Model":
        return keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, name="fc"), keras.layers.Dense(2, name="out")]
        )

    def read(path: Path) -> None:
        read_attributes(path)
        load_weights(path, model)

    model, path = build(), folder / "whole.h5"
    save_weights(path, model, {"run_config": "{}"})
    return Reader("a.h5", read, [path.read_bytes()])


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one to four damages. A third of those in JSON leave it valid, with other values."""
    if content[:1] in (b"{", b"[") and rng.random() < 1 / 3:
        with contextlib.suppress(ValueError):  # lines of JSON
            return _other_values(content, rng)
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(0, len(data) + 1))
        size = int(rng.integers(1, 9))
        kind = int(rng.integers(0, 7))
        if kind == 0:
            del data[place:]
        elif kind == 1:
            del data[place : place + size]
        elif kind == 2:
            data[place:place] = data[place : place + 8 * size]
        elif kind == 3:
            data[place : place + size] = rng.bytes(size)
        elif kind == 4 and place < len(data):
            data[place] ^= 1 << int(rng.integers(0, 8))
        else:
            word = WORDS[int(rng.integers(0, len(WORDS)))]
            data[place : place + (len(word) if kind == 5 else 0)] = word
    return bytes(data)


def _other_values(content: bytes, rng: np.random.Generator) -> bytes:
    """Return JSON with one to four values lost, or replaced by values of another kind."""
    root = {"": json.loads(content)}
    for _ in range(int(rng.integers(1, 5))):
        places = list(_places(root))
        holder, key = places[int(rng.integers(0, len(places)))]
        if rng.random() < 0.3 and key != "":
            del holder[key]
        else:
            holder[key] = copy.deepcopy(VALUES[int(rng.integers(0, len(VALUES)))])
    return json.dumps(root[""]).encode()


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each value within a mapping or list, as what holds it and its key."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield node, key
        yield from _places(value)


def try_reader(reader: Reader, content: bytes) -> str:
    """Return "read", "refused", or the traceback of what must not happen."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / reader.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                reader.read(path)
        except InputError as error:
            if not str(error):
                return "an error without a message"
            return "refused"
        except Exception:
            return traceback.format_exc()
    return "read"


def fuzz(reader: Reader, count: int, seed: int) -> Iterator[tuple[str, Defect | None]]:
    """Yield what became of each of `count` damaged files, see `try_reader`, with the file where it is a defect."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        content = damage(reader.whole[number % len(reader.whole)], rng)
        outcome = try_reader(reader, content)
        known = outcome in ("read", "refused")
        yield (outcome, None) if known else ("defect", Defect(reader.name, content, outcome))
