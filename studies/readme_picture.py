"""Draw the picture of README.md: a training image, its tiles, its pseudo masks and what the finished model finds.

Example:
    cyclic demo --out demo
    python studies/readme_picture.py demo/run --out docs/picture.png
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cyclic.datasets.layouts import open_splits
from cyclic.datasets.tile_folder import CLASSES, parse_tile_name
from cyclic.draw.colours import OUTLINE_COLORS
from cyclic.draw.overlays import contour_overlay, enlarge, side_by_side
from cyclic.errors import InputError
from cyclic.files import atomic_path, image_files
from cyclic.images import read_image
from cyclic.inference.predictor import Predictor
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.runs.directory import data_folders
from cyclic.runs.paths import RunPaths

# Blue for yes, orange for no: the two that colour-blind eyes tell apart best (Okabe-Ito).
TILE_COLOURS = {"positive": (0, 114, 178), "negative": (213, 94, 0)}
UPSCALE = 2
# Colours of the tissue in the PNG file: a palette keeps it under 150 kB.
COLOURS = 64

Tile = tuple[int, int, int, str]


def tiles_of(folder: Path, name: str) -> list[Tile]:
    """Return (y, x, side, "positive" or "negative") of tiles of an image that do not overlap, negative ones first.

    Args:
        folder: with `positive/` and `negative/`.
        name: image id.
    """
    chosen: list[Tile] = []
    for kind in CLASSES:
        for stem, path in image_files(folder / kind).items():
            place = parse_tile_name(stem)
            if place is None or place[0] != name:
                continue
            (_, y, x), side = place, read_image(path).shape[0]
            if all(max(abs(y - other[0]), abs(x - other[1])) >= side for other in chosen):
                chosen.append((y, x, side, kind))
    return chosen


def draw_tiles(image: np.ndarray, tiles: list[Tile]) -> np.ndarray:
    """Return the image with each tile in the colour of its answer, `[H * UPSCALE, W * UPSCALE, 3]` uint8.

    Args:
        image: `[H, W, 3]` uint8.
        tiles: what `tiles_of` returned.
    """
    canvas = enlarge(image, UPSCALE)
    for y, x, side, kind in tiles:
        corner, end = (x * UPSCALE + 3, y * UPSCALE + 3), ((x + side) * UPSCALE - 4, (y + side) * UPSCALE - 4)
        cv2.rectangle(canvas, corner, end, TILE_COLOURS[kind], 2 * UPSCALE)
    return canvas


def picture(run: Path, name: str | None = None) -> np.ndarray:
    """Return the four panels side by side, `[h, w, 3]` uint8.

    Args:
        run: directory of a finished run with tiles.
        name: id of a training image; None for the one whose shown tiles are most evenly yes and no.

    Raises:
        InputError: the run is not finished, or it has no such training image.
    """
    paths = RunPaths(run)
    train, _ = open_splits(data_folders(run))
    tiles = {each: tiles_of(paths.tiles, each) for each in train.ids}
    if name is None:
        name = max(tiles, key=lambda each: min(sum(tile[3] == kind for tile in tiles[each]) for kind in CLASSES))
    if name not in tiles:
        raise InputError(f"{run}: no training image {name}; it has {', '.join(tiles)}")
    image = train.image(name)
    pseudo = load_pseudo_masks(paths.cycle(1).pseudo(), name)
    predictor = Predictor.load(paths.best)
    found = predictor.predict(image, predictor.config.mpp)
    return side_by_side(
        [
            ("image", enlarge(image, UPSCALE)),
            ("tiles: blue yes, orange no", draw_tiles(image, tiles[name])),
            ("pseudo masks", contour_overlay(image, pseudo.labels, UPSCALE)),
            ("result", contour_overlay(image, found.labels, UPSCALE)),
        ]
    )


def few_colours(pixels: np.ndarray) -> Image.Image:
    """Return `[h, w, 3]` uint8 as a picture of few colours, in which lines keep theirs."""
    drawn = Image.fromarray(pixels)
    tissue = drawn.quantize(COLOURS, dither=Image.Dither.NONE).getpalette() or []
    lines = np.concatenate([OUTLINE_COLORS, np.array(list(TILE_COLOURS.values()), np.uint8)])
    palette = Image.new("P", (1, 1))
    palette.putpalette([*tissue[: 3 * COLOURS], *lines.ravel().tolist()])
    return drawn.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a finished run, such as that of cyclic demo")
    parser.add_argument("--image", help="id of a training image; default: the one with the most tiles of both kinds")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    options = parser.parse_args()
    try:
        drawn = few_colours(picture(options.run, options.image))
        with atomic_path(options.out) as temporary:
            drawn.save(temporary, optimize=True)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
