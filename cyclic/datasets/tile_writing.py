"""Write tiles into folders: all of a cut or none, with a record of what was cut."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from cyclic.datasets.tile_folder import tile_name
from cyclic.errors import InputError
from cyclic.files import cure, lock_folder, read_json, write_json

RECORD, PARTIAL = "tiles.json", ".partial"


class Images(Protocol):
    """Images that are read one at a time, such as `NucleiDataset`."""

    ids: list[str]

    def image(self, image_id: str, /) -> np.ndarray:
        """Return the image, `[H, W, 3]` uint8."""


@dataclass(frozen=True)
class Tile:
    """Where a tile lies: the image's id and the tile's top-left corner."""

    image_id: str
    y: int
    x: int


@dataclass(frozen=True)
class TileCounts:
    """Number of tiles in each folder, and whether an earlier run had already cut them.

    Attributes:
        positive, negative: tiles with an answer.
        reused: whether they were there already.
        unsorted: tiles that wait for an answer.
    """

    positive: int
    negative: int
    reused: bool = False
    unsorted: int = 0


def count_files(out: Path, folders: Sequence[str]) -> dict[str, int]:
    """Return how many PNG files each of the folders in `out` holds."""
    return {name: len(list((out / name).glob("*.png"))) for name in folders}


def find_cut(out: Path, folders: Sequence[str], settings: dict) -> dict[str, int] | None:
    """Return the counts of an earlier cut with the same settings; None where `out` has no tiles.

    What a killed cut left behind is removed.

    Raises:
        InputError: `out` holds tiles of other images or settings, or tiles without a record.
    """
    record = out / RECORD
    if record.is_file():
        earlier = read_json(record)
        if not isinstance(earlier, dict):
            raise other_tiles(out)
        if isinstance(earlier.get("settings"), dict):
            earlier["settings"].setdefault("count", None)  # a key that earlier versions did not have
        if earlier.get("settings") == json.loads(json.dumps(settings)) and isinstance(earlier.get("counts"), dict):
            if (out / PARTIAL).is_dir():  # the cut was killed at its very end
                shutil.rmtree(out / PARTIAL, ignore_errors=True)
            return earlier["counts"]
        raise other_tiles(out)
    if (out / PARTIAL).is_dir():  # a cut that was killed, unless it is at work: whatever it had moved is cut again
        with lock_folder(out):
            for name in folders:
                shutil.rmtree(out / name, ignore_errors=True)
    filled = [f"{name}/" for name in folders if (out / name).is_dir() and any((out / name).iterdir())]
    if filled:
        raise InputError(f"{out}: tiles without tiles.json; remove {' and '.join(filled)} or choose another folder")
    return None


def other_tiles(out: Path) -> InputError:
    """Return the error that says that `out` holds the tiles of another cut."""
    return InputError(f"{out / RECORD}: tiles of other images or settings; remove the folder or choose another one")


def write_tiles(images: Images, tiles: dict[str, list[Tile]], out: Path, size: int, record: dict) -> None:
    """Write the tiles of each folder into `out/.partial` and move them when all are there, `tiles.json` last.

    As long as `.partial` exists without `tiles.json`, the cut was killed.

    Args:
        images: where the pixels are.
        tiles: `{folder: its tiles}`.
        out: folder of these folders.
        size: height and width of a tile.
        record: what `tiles.json` is to hold.

    Raises:
        InputError: `out` cannot be written, or another process writes there.
    """
    with lock_folder(out):
        _write(images, tiles, out, size, record)


def _write(images: Images, tiles: dict[str, list[Tile]], out: Path, size: int, record: dict) -> None:
    partial_folder = out / PARTIAL
    shutil.rmtree(partial_folder, ignore_errors=True)
    try:
        for name in tiles:
            (partial_folder / name).mkdir(parents=True)
        for image_id in images.ids:
            chosen = [(name, tile) for name in tiles for tile in tiles[name] if tile.image_id == image_id]
            if not chosen:
                continue
            image = images.image(image_id)
            for name, tile in chosen:
                pixels = Image.fromarray(np.ascontiguousarray(image[tile.y : tile.y + size, tile.x : tile.x + size]))
                path = partial_folder / name / f"{tile_name(image_id, tile.y, tile.x)}.png"
                pixels.save(path, compress_level=1)
        for name in tiles:
            (partial_folder / name).replace(out / name)
        write_json(out / RECORD, record)
        partial_folder.rmdir()
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); {cure(error)}") from error
