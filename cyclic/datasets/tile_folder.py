"""Tiles with an image-level label, in a folder `positive/` and a folder `negative/`: find, read and split them."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.files import image_files
from cyclic.images import read_image, read_shape

CLASSES = ("negative", "positive")  # a class's label is its index
_TILE_NAME = re.compile(r"(.+)_(\d+)_(\d+)")


def tile_name(image_id: str, y: int, x: int) -> str:
    """Return the name, without suffix, of the tile whose top-left corner lies at (y, x).

    >>> tile_name("kidney_1", 48, 0)
    'kidney_1_48_0'
    """
    return f"{image_id}_{y}_{x}"


def parse_tile_name(name: str) -> tuple[str, int, int] | None:
    """Return (image id, y, x) of a name that `tile_name` made, or None for another name.

    >>> parse_tile_name("kidney_1_48_0")
    ('kidney_1', 48, 0)
    """
    match = _TILE_NAME.fullmatch(name)
    return None if match is None else (match[1], int(match[2]), int(match[3]))


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


def load_tiles(folder: str | Path, without: Collection[str] = ()) -> TileFolder:
    """Return the tiles of `folder/positive` and `folder/negative` (any image suffix), negative ones first.

    Tiles that are named after an image of `without` are left out.

    Raises:
        InputError: a class folder is missing or empty, nothing of it is left, or a tile of an image lies in both.
    """
    files = [[path for path in _class_files(folder, name) if _image_of(path) not in without] for name in CLASSES]
    for name, paths in zip(CLASSES, files, strict=True):
        if not paths:
            raise InputError(
                f"{Path(folder) / name}: every tile is of a val or test image; add tiles of training images"
            )
    negative, positive = ({path.name for path in paths if _image_of(path) is not None} for paths in files)
    if both := sorted(negative & positive):
        raise InputError(f"{Path(folder)}: {both[0]} lies in positive/ and in negative/; keep the one that is right")
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int32), [len(paths) for paths in files])
    return TileFolder([path for paths in files for path in paths], labels)


def _class_files(folder: str | Path, name: str) -> list[Path]:
    if not (Path(folder) / name).is_dir():
        shows = "that show a nucleus" if name == "positive" else "without a nucleus"
        raise InputError(f"{Path(folder) / name}: no such folder; move the tiles {shows} there")
    return list(image_files(Path(folder) / name).values())


def _image_of(path: Path) -> str | None:
    """Return the id of the image that a tile is named after; None for another name."""
    parsed = parse_tile_name(path.stem)
    return None if parsed is None else parsed[0]


def tiles_of(folder: str | Path, image_ids: Collection[str]) -> dict[str, int]:
    """Return `{image id: number of tiles}` of the tiles that are named after one of these images."""
    kinds = [kind for kind in CLASSES if (Path(folder) / kind).is_dir()]
    names = [_image_of(path) for kind in kinds for path in _class_files(folder, kind)]
    return dict(sorted(Counter(name for name in names if name is not None and name in image_ids).items()))


def check_size(paths: Iterable[Path], size: int) -> None:
    """Raise `InputError` for a tile of another size than `size` x `size`; only headers are read."""
    for path in paths:
        height, width = read_shape(path)
        if (height, width) != (size, size):
            raise InputError(
                f"{path}: a tile of {height} x {width} pixels, but tiles.size is {size}; set tiles.size to the side of "
                "your tiles, which are squares of one size"
            )


def read_tiles(paths: list[Path]) -> np.ndarray:
    """Return `[N, H, W, 3]` uint8. Raises InputError where there is none, one is unreadable, or sizes differ."""
    if not paths:
        raise InputError("tiles: no tile given; check the tile folder")
    tiles = [read_image(path) for path in paths]
    for path, tile in zip(paths, tiles, strict=True):
        if tile.shape != tiles[0].shape:
            raise InputError(f"{path}: shape {tile.shape[:2]}, others have {tiles[0].shape[:2]}; use tiles of one size")
    return np.stack(tiles)


def negative_areas(
    folder: str | Path, shapes: dict[str, tuple[int, int]], without: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return `{image id: [H, W] bool}`, True where one of the image's negative tiles lies: there is no nucleus.

    Of a tile only the header is read, not the pixels.

    Args:
        folder: what `load_tiles` reads; tiles count that are named `<image id>_<y>_<x>` after an image of `shapes`.
        shapes: `{image id: (H, W)}`.
        without: names of tiles that do not count.

    Raises:
        InputError: `folder/negative` is missing or empty, or a tile is no image or does not lie within its image.
    """
    areas = {name: np.zeros(shape, bool) for name, shape in shapes.items()}
    for path in image_files(Path(folder) / CLASSES[0]).values():
        parsed = parse_tile_name(path.stem)
        if parsed is None or parsed[0] not in areas or path.stem in without:
            continue
        image_id, y, x = parsed
        area = areas[image_id]
        height, width = read_shape(path)
        if y + height > area.shape[0] or x + width > area.shape[1]:
            raise InputError(f"{path}: lies outside the image it is named after, {area.shape}; cut the tiles again")
        area[y : y + height, x : x + width] = True
    return areas


def count_placed(folder: str | Path, image_ids: Collection[str], without: Collection[str] = ()) -> tuple[int, int]:
    """Return how many negative tiles there are, and how many of them are named after a place in one of the images.

    Tiles that are named after an image of `without` are not counted.
    """
    names = [name for name in map(_image_of, _class_files(folder, CLASSES[0])) if name not in without]
    return len(names), sum(name in image_ids for name in names)


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
    held = _hold_out_images(tiles, held_out, rng)
    if held is None:
        held = np.zeros(len(tiles.paths), bool)
        for label in (0, 1):
            members = np.flatnonzero(tiles.labels == label)
            count = min(max(1, round(held_out * len(members))), len(members) - 1)
            held[rng.choice(members, count, replace=False)] = True
    return tiles.take(np.flatnonzero(~held)), tiles.take(np.flatnonzero(held))


def _hold_out_images(tiles: TileFolder, held_out: float, rng: np.random.Generator) -> np.ndarray | None:
    """Return `[N]` bool, True for tiles of held-out images, or None where holding out whole images does not work."""
    parsed = [parse_tile_name(path.stem) for path in tiles.paths]
    image_ids = [name[0] for name in parsed if name is not None]
    if len(image_ids) < len(parsed):
        return None
    images, image_of = np.unique(np.array(image_ids), return_inverse=True)
    if len(images) < 4:
        return None
    held = np.zeros(len(tiles.paths), bool)
    for image in rng.permutation(len(images)):
        held |= image_of == image
        if held.mean() >= held_out and len(np.unique(tiles.labels[held])) == 2:
            return held if len(np.unique(tiles.labels[~held])) == 2 else None
    return None
