"""Cut tiles with an image-level label, yes or no, out of labelled images.

`cut_tiles` stands in for the annotator who says of each tile whether it shows nuclei. It reads instance labels to do
so, and yes (folder `positive/`) or no (`negative/`) is all that leaves it.
"""

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from cyclic.datasets.tile_folder import CLASSES
from cyclic.datasets.tile_writing import Images, Tile, TileCounts, count_files, find_cut, other_tiles, write_tiles
from cyclic.errors import InputError
from cyclic.tiling import flush_starts

# A tile is positive from this share of nucleus pixels on, and negative up to that one.
MIN_COVERAGE, MAX_COVERAGE_NEGATIVE = 0.1, 0.0


class LabelledImages(Images, Protocol):
    """Images and their label maps, read one at a time, such as `NucleiDataset` and `ImageLabelPairs`."""

    def label_map(self, image_id: str, /) -> np.ndarray:
        """Return its instances, `[H, W]` integer, 0 background."""


def cut_tiles(
    dataset: LabelledImages,
    out: str | Path,
    size: int,
    stride: int,
    min_coverage: float = MIN_COVERAGE,
    max_coverage_negative: float = MAX_COVERAGE_NEGATIVE,
    balance: bool = True,
    seed: int = 0,
    count: int | None = None,
) -> TileCounts:
    """Cut labelled images into `out/{positive,negative}/<image id>_<y>_<x>.png`, and write `out/tiles.json`.

    A tile between the two coverages is neither, and is left out. If `out` already holds the tiles of the same images
    (by id) and settings, nothing is done.

    Args:
        dataset: the labelled images.
        out: folder to write to.
        size: height and width of a tile.
        stride: distance of positive tiles; the last row and column are flush with the border. Negative tiles lie
            closer, see `negative_stride`.
        min_coverage: positive from this share of nucleus pixels on.
        max_coverage_negative: negative up to this share.
        balance: keep as many tiles of one class as of the other, at random.
        seed: seed of the choice that `balance` and `count` make.
        count: keep at most this many tiles, at random: half of each class with `balance`. None: no limit.

    Raises:
        InputError: wrong settings, an image smaller than a tile, other tiles in `out`, or one class would stay empty.
    """
    out = Path(out)
    if min(size, stride) < 1 or not 0 <= max_coverage_negative < min_coverage <= 1:
        raise InputError(
            f"tiles: {size=}, {stride=}, {min_coverage=}, {max_coverage_negative=}; size and stride start at 1, and "
            "0 <= max_coverage_negative < min_coverage <= 1"
        )
    settings = {
        "size": size,
        "stride": stride,
        "negative_stride": negative_stride(stride),
        "min_coverage": min_coverage,
        "max_coverage_negative": max_coverage_negative,
        "balance": balance,
        "seed": seed,
        "count": count,
        "images": list(dataset.ids),
    }
    earlier = find_cut(out, CLASSES, settings)
    if earlier is not None:
        if earlier != count_files(out, CLASSES):
            raise other_tiles(out)
        return TileCounts(earlier["positive"], earlier["negative"], reused=True)
    tiles: dict[str, list[Tile]] = {name: [] for name in CLASSES}
    for image_id in dataset.ids:
        nuclei = dataset.label_map(image_id) > 0
        if min(nuclei.shape) < size:
            raise InputError(f"tiles: image {image_id}, {nuclei.shape}, is smaller than a tile; choose {size=} smaller")
        for name, step in (("negative", negative_stride(stride)), ("positive", stride)):
            corners, coverage = tile_coverage(nuclei, size, step)
            wanted = coverage >= min_coverage if name == "positive" else coverage <= max_coverage_negative
            tiles[name] += [Tile(image_id, int(y), int(x)) for y, x in corners[wanted]]
    _check_both_classes(tiles)
    rng = np.random.default_rng(seed)
    if balance:
        tiles = _balance(tiles, rng)
    if count is not None:
        tiles = _choose(tiles, count, rng)
    counts = {name: len(members) for name, members in tiles.items()}
    write_tiles(dataset, tiles, out, size, {"settings": settings, "counts": counts})
    return TileCounts(counts["positive"], counts["negative"])


def negative_stride(stride: int) -> int:
    """Return the distance of negative tiles: a quarter of `stride`, because they are rare in dense tissue."""
    return max(1, stride // 4)


def tile_coverage(nuclei: np.ndarray, size: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tiles' top-left corners `[N, 2]` (y, x) and the share `[N]` of their pixels set in `nuclei` (bool)."""
    ys, xs = (np.array(flush_starts(side, size, stride)) for side in nuclei.shape)
    total = cv2.integral(nuclei.astype(np.uint8))  # total[y, x]: sum over nuclei[:y, :x]
    inside = total[np.ix_(ys + size, xs + size)] - total[np.ix_(ys, xs + size)]
    inside = inside - total[np.ix_(ys + size, xs)] + total[np.ix_(ys, xs)]
    corners = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
    return corners, inside.ravel() / size**2


def _check_both_classes(tiles: dict[str, list[Tile]]) -> None:
    cures = {
        "negative": "use a smaller size or stride, or a larger max_coverage_negative",
        "positive": "use a smaller min_coverage or stride, or check that the label maps hold nuclei",
    }
    for name, cure in cures.items():
        if not tiles[name]:
            raise InputError(f"tiles: no {name} tile in these images, and a classifier needs both classes; {cure}")


def _balance(tiles: dict[str, list[Tile]], rng: np.random.Generator) -> dict[str, list[Tile]]:
    """Return as many tiles of one class as of the other, in their order."""
    fewest = min(map(len, tiles.values()))
    chosen = {name: np.sort(rng.choice(len(members), fewest, replace=False)) for name, members in tiles.items()}
    return {name: [tiles[name][index] for index in indices] for name, indices in chosen.items()}


def _choose(tiles: dict[str, list[Tile]], count: int, rng: np.random.Generator) -> dict[str, list[Tile]]:
    """Return at most `count` of all tiles, of each class its share, in their order."""
    total = sum(map(len, tiles.values()))
    chosen = {}
    for name, members in tiles.items():
        kept = min(len(members), max(1, round(count * len(members) / total)))
        chosen[name] = [members[index] for index in np.sort(rng.choice(len(members), kept, replace=False))]
    return chosen
