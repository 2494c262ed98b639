"""Image-level labelled tiles: cutting them, reading them back, holding some out, feeding them to a classifier.

`cut_tiles` emulates the annotator who says of each tile whether it shows nuclei. It reads instance labels to do so, and
yes (folder `positive/`) or no (`negative/`) is all that leaves it.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
from PIL import Image

from cyclic.datasets.augment import flip_turn, shear_zoom
from cyclic.errors import InputError
from cyclic.files import image_files, read_image, read_json, write_json

CLASSES = ("negative", "positive")  # a class's label is its index
RECORD, PARTIAL = "tiles.json", ".partial"
TILE_NAME = re.compile(r"(?P<image>.+)_(?P<y>\d+)_(?P<x>\d+)")


@dataclass(frozen=True)
class TileCounts:
    """Number of tiles in each folder, and whether an earlier run had already cut them."""

    positive: int
    negative: int
    reused: bool = False


@dataclass(frozen=True)
class TileFolder:
    """Tiles and their image-level labels.

    Attributes:
        paths: tile files.
        labels: `[N]` int32, 0 negative (no nucleus), 1 positive.
    """

    paths: list[Path]
    labels: np.ndarray

    def take(self, index: np.ndarray) -> "TileFolder":
        """Return the tiles at `index` (`[K]` integer)."""
        return TileFolder([self.paths[i] for i in index], self.labels[index])


def cut_tiles(
    dataset: object | Iterable[tuple[str, np.ndarray, np.ndarray]],
    out: str | Path,
    size: int = 64,
    stride: int = 48,
    min_coverage: float = 0.1,
    max_coverage_negative: float = 0.0,
    balance: bool = True,
    negative_stride: int | None = None,
    seed: int = 0,
) -> TileCounts:
    """Cut labelled images into `out/{positive,negative}/<image id>_<y>_<x>.png`, and write `out/tiles.json`.

    A tile between the two coverages is neither, and is left out. If `out` already holds the tiles of the same images
    (by id) and settings, nothing is done.

    Args:
        dataset: `ids`, `image(id)`, `label_map(id)` as `NucleiDataset` has them, or an iterable of
            (id, `[H, W, 3]` uint8, `[H, W]` integer).
        out: folder to write to.
        size: height and width of a tile.
        stride: distance of positive tiles; the last row and column are flush with the border.
        min_coverage: positive from this share of nucleus pixels on.
        max_coverage_negative: negative up to this share.
        balance: keep as many tiles of one class as of the other, at random.
        negative_stride: distance of negative tiles, finer because they are rare in dense tissue; None: `stride // 4`.
        seed: seed of the choice that `balance` makes.

    Raises:
        InputError: wrong settings, an image smaller than a tile, other tiles in `out`, or one class would stay empty.
    """
    out = Path(out)
    negative_stride = negative_stride or max(1, stride // 4)
    if min(size, stride) < 1 or not 0 <= max_coverage_negative < min_coverage <= 1:
        raise InputError(
            f"tiles: {size=}, {stride=}, {min_coverage=}, {max_coverage_negative=}; size and stride start at 1, and "
            "0 <= max_coverage_negative < min_coverage <= 1"
        )
    sources = _sources(dataset)
    settings = {
        "size": size,
        "stride": stride,
        "negative_stride": negative_stride,
        "min_coverage": min_coverage,
        "max_coverage_negative": max_coverage_negative,
        "balance": balance,
        "seed": seed,
        "images": [image_id for image_id, _, _ in sources],
    }
    done = _already_cut(out, settings)
    if done is not None:
        return done
    places: dict[str, list[tuple[int, int, int]]] = {name: [] for name in CLASSES}
    for number, (image_id, _, label_map) in enumerate(sources):
        nuclei = label_map() > 0
        if min(nuclei.shape) < size:
            raise InputError(f"tiles: image {image_id}, {nuclei.shape}, is smaller than a tile; choose {size=} smaller")
        for name, step in (("negative", negative_stride), ("positive", stride)):
            corners, coverage = tile_coverage(nuclei, size, step)
            wanted = coverage >= min_coverage if name == "positive" else coverage <= max_coverage_negative
            places[name] += [(number, int(y), int(x)) for y, x in corners[wanted]]
    _check_both_classes(places)
    if balance:
        _balance(places, np.random.default_rng(seed))
    counts = {name: len(places[name]) for name in CLASSES}
    _write_tiles(sources, places, out, size, {"settings": settings, "counts": counts})
    return TileCounts(**counts)


def tile_coverage(nuclei: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tiles' top-left corners `[N, 2]` (y, x) and the share `[N]` of their pixels set in `nuclei` (bool)."""
    ys, xs = (np.unique(np.append(np.arange(0, side - size, stride), side - size)) for side in nuclei.shape)
    total = cv2.integral(nuclei.astype(np.uint8))  # total[y, x]: sum over nuclei[:y, :x]
    inside = total[np.ix_(ys + size, xs + size)] - total[np.ix_(ys, xs + size)]
    inside = inside - total[np.ix_(ys + size, xs)] + total[np.ix_(ys, xs)]
    corners = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
    return corners, inside.ravel() / size**2


def _sources(dataset: object) -> list[tuple[str, Callable[[], np.ndarray], Callable[[], np.ndarray]]]:
    """Return (id, reader of the image, reader of the label map) for each image: one image is in memory at a time."""
    if hasattr(dataset, "ids"):
        return [(i, partial(dataset.image, i), partial(dataset.label_map, i)) for i in dataset.ids]
    return [(i, partial(np.asarray, image), partial(np.asarray, labels)) for i, image, labels in dataset]


def _already_cut(out: Path, settings: dict) -> TileCounts | None:
    """Return the counts of an earlier run with the same settings, or None where `out` has no tiles."""
    record = out / RECORD
    if record.is_file():
        earlier = read_json(record)
        there = {name: len(list((out / name).glob("*.png"))) for name in CLASSES}
        if earlier == {"settings": json.loads(json.dumps(settings)), "counts": there}:
            return TileCounts(**there, reused=True)
        raise InputError(f"{record}: tiles of other images or settings; remove the folder or choose another one")
    if (out / PARTIAL).is_dir():  # a cut that was killed: whatever it had moved is cut again
        for name in CLASSES:
            shutil.rmtree(out / name, ignore_errors=True)
    if any((out / name).is_dir() and any((out / name).iterdir()) for name in CLASSES):
        raise InputError(f"{out}: tiles without tiles.json; remove positive/ and negative/ or choose another folder")
    return None


def _check_both_classes(places: dict[str, list]) -> None:
    cures = {
        "negative": "use a smaller size or negative_stride, or a larger max_coverage_negative",
        "positive": "use a smaller min_coverage or stride, or check that the label maps hold nuclei",
    }
    for name, cure in cures.items():
        if not places[name]:
            raise InputError(f"tiles: no {name} tile in these images, and a classifier needs both classes; {cure}")


def _balance(places: dict[str, list], rng: np.random.Generator) -> None:
    """Cut the larger class down to the size of the smaller one."""
    fewest = min(len(found) for found in places.values())
    for name, found in places.items():
        chosen = np.sort(rng.choice(len(found), fewest, replace=False))
        places[name] = [found[i] for i in chosen]


def _write_tiles(sources: list, places: dict[str, list], out: Path, size: int, record: dict) -> None:
    """Write the tiles into `out/.partial` and move them when all are there, `tiles.json` last.

    As long as `.partial` exists without `tiles.json`, the cut was killed.
    """
    partial_folder = out / PARTIAL
    shutil.rmtree(partial_folder, ignore_errors=True)
    try:
        for name in CLASSES:
            (partial_folder / name).mkdir(parents=True)
        for number, (image_id, read, _) in enumerate(sources):
            here = [(name, y, x) for name in CLASSES for image, y, x in places[name] if image == number]
            image = read() if here else None
            for name, y, x in here:
                tile = Image.fromarray(np.ascontiguousarray(image[y : y + size, x : x + size]))
                tile.save(partial_folder / name / f"{image_id}_{y}_{x}.png", compress_level=1)
        for name in CLASSES:
            (partial_folder / name).replace(out / name)
        write_json(out / RECORD, record)
        partial_folder.rmdir()
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); choose another folder") from error


def load_tiles(folder: str | Path) -> TileFolder:
    """Return the tiles of `folder/positive` and `folder/negative` (any image suffix), negative ones first.

    Raises:
        InputError: a class folder is missing or empty.
    """
    files = [list(image_files(Path(folder) / name).values()) for name in CLASSES]
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int32), [len(paths) for paths in files])
    return TileFolder(sum(files, []), labels)


def negative_areas(folder: str | Path, shapes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    """Return `{image id: [H, W] bool}`, True where one of the image's negative tiles lies: there is no nucleus.

    Args:
        folder: what `load_tiles` reads; tiles count that are named `<image id>_<y>_<x>` after an image of `shapes`.
        shapes: `{image id: (H, W)}`.

    Raises:
        InputError: `folder/negative` is missing or empty, or a tile is unreadable or does not lie within its image.
    """
    areas = {name: np.zeros(shape, bool) for name, shape in shapes.items()}
    for path in image_files(Path(folder) / CLASSES[0]).values():
        place = TILE_NAME.fullmatch(path.stem)
        if place is None or place["image"] not in areas:
            continue
        area, y, x = areas[place["image"]], int(place["y"]), int(place["x"])
        height, width = read_image(path).shape[:2]
        if y + height > area.shape[0] or x + width > area.shape[1]:
            raise InputError(f"{path}: lies outside the image it is named after, {area.shape}; cut the tiles again")
        area[y : y + height, x : x + width] = True
    return areas


def split_tiles(tiles: TileFolder, held_out: float = 0.1, seed: int = 0) -> tuple[TileFolder, TileFolder]:
    """Split into (training tiles, held-out tiles), both with both classes.

    Tiles of one image overlap, so whole source images are held out where the tiles are named `<image id>_<y>_<x>` and
    come from four images or more. Otherwise, or if that leaves one side without one of the classes, tiles are drawn at
    random from each class.

    Args:
        tiles: at least two tiles of each class.
        held_out: share to hold out, in (0, 1).
        seed: seed of the choice.

    Raises:
        InputError: `held_out` is out of range or a class has fewer than two tiles.
    """
    if not 0 < held_out < 1 or np.bincount(tiles.labels, minlength=2).min() < 2:
        raise InputError(f"tiles: cannot hold out {held_out}; use a share in (0, 1) and two tiles of each class")
    rng = np.random.default_rng(seed)
    held = _held_images(tiles, held_out, rng)
    if held is None:
        held = np.zeros(len(tiles.paths), bool)
        for label in (0, 1):
            members = np.flatnonzero(tiles.labels == label)
            count = min(max(1, round(held_out * len(members))), len(members) - 1)
            held[rng.choice(members, count, replace=False)] = True
    return tiles.take(np.flatnonzero(~held)), tiles.take(np.flatnonzero(held))


def _held_images(tiles: TileFolder, held_out: float, rng: np.random.Generator) -> np.ndarray | None:
    """Return `[N]` bool, True for tiles of held-out images, or None where holding out whole images does not work."""
    names = [TILE_NAME.fullmatch(path.stem) for path in tiles.paths]
    if not all(names):
        return None
    images, image_of = np.unique([name["image"] for name in names], return_inverse=True)
    if len(images) < 4:
        return None
    held = np.zeros(len(tiles.paths), bool)
    for image in rng.permutation(len(images)):
        held |= image_of == image
        if held.mean() >= held_out and len(np.unique(tiles.labels[held])) == 2:
            return held if len(np.unique(tiles.labels[~held])) == 2 else None
    return None


class TileSequence(keras.utils.PyDataset):
    """Batches (images `[B, H, W, 3]` float32 in 0..255, labels `[B]` int32) for `model.fit` and `model.predict`.

    Training batches are full and hold both classes equally; each epoch shows every tile at least once, in an order that
    `seed` and the epoch decide. Otherwise tiles come in the order given, unchanged but for `scale`.

    Args:
        paths: tile files, all of one size. They are decoded once and kept in memory as uint8.
        labels: `[N]` integer, 0 or 1.
        batch_size: tiles in a batch.
        seed: seed of order and augmentation.
        train: shuffle, balance and augment (flips and quarter turns always).
        shear: see `shear_zoom`; 0 is off, as for `zoom`.
        zoom: see `shear_zoom`.
        augment: `(image [H, W, 3] uint8, rng) -> image`, e.g. `stain_jitter`.
        scale: enlarge tiles by this integer (cubic).
        **kwargs: `workers` and so on, for `keras.utils.PyDataset`.

    Raises:
        InputError: no tiles, tiles of different sizes, an unreadable tile, or `train` with one class only.
    """

    def __init__(
        self,
        paths: list[Path],
        labels: np.ndarray,
        batch_size: int = 32,
        seed: int = 0,
        train: bool = True,
        shear: float = 0.0,
        zoom: float = 0.0,
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        scale: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.labels = np.asarray(labels, np.int32)
        if train and set(np.unique(self.labels)) != {0, 1}:
            raise InputError("tiles: training needs positive (1) and negative (0) tiles; check the tile folder")
        self.tiles = read_tiles(paths)
        self.batch_size, self.seed, self.train = batch_size, seed, train
        self.shear, self.zoom, self.augment, self.scale = shear, zoom, augment, scale
        self.epoch = 0
        self.order = self._order()

    def _order(self) -> np.ndarray:
        """Return the epoch's tile indices; in training classes alternate, the smaller one repeating itself."""
        if not self.train:
            return np.arange(len(self.tiles))
        rng = np.random.default_rng([self.seed, self.epoch])
        members = [np.flatnonzero(self.labels == label) for label in (0, 1)]
        batches = -(-2 * max(map(len, members)) // self.batch_size)
        each = -(-batches * self.batch_size // 2)
        drawn = [np.concatenate([rng.permutation(m) for _ in range(-(-each // len(m)))])[:each] for m in members]
        return np.stack(drawn, axis=1).ravel()[: batches * self.batch_size]

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.epoch += 1
        self.order = self._order()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        # A generator for each batch: worker threads may ask for batches in any order.
        rng = np.random.default_rng([self.seed, self.epoch, index])
        images = [self._prepare(self.tiles[i], rng) for i in chosen]
        return np.stack(images).astype(np.float32), self.labels[chosen]

    def _prepare(self, tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.train:
            (tile,) = flip_turn(rng, tile)
            if self.shear or self.zoom:
                tile = shear_zoom(tile, rng, self.shear, self.zoom)
            if self.augment is not None:
                tile = self.augment(tile, rng)
        if self.scale > 1:
            tile = cv2.resize(tile, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_CUBIC)
        return tile


def read_tiles(paths: list[Path]) -> np.ndarray:
    """Return `[N, H, W, 3]` uint8. Raises InputError where there is none, one is unreadable, or sizes differ."""
    if not paths:
        raise InputError("tiles: no tile given; check the tile folder")
    tiles = [read_image(path) for path in paths]
    for path, tile in zip(paths, tiles, strict=True):
        if tile.shape != tiles[0].shape:
            raise InputError(f"{path}: shape {tile.shape[:2]}, others have {tiles[0].shape[:2]}; use tiles of one size")
    return np.stack(tiles)
