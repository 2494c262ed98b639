"""COCO segmentations -> masks, each checked before a rasteriser sees it.

Malformed polygons and run lengths make pycocotools read beyond its memory, or ask for all of it. So whatever a file
says is looked at first: what is wrong gets a reason, and no mask.
"""

import math
from collections.abc import Sequence

import numpy as np
import pycocotools.mask

# Corners of a polygon, and numbers of it.
CORNERS, NUMBERS = 3, 6


class BadAnnotation(ValueError):
    """An annotation that is no mask; the message says why."""


def compress(segmentation: object, height: int, width: int) -> dict:
    """Return a segmentation as pycocotools' own run lengths, for `decode`.

    Args:
        segmentation: polygons `[[x, y, x, y, ...], ...]`, or RLE `{"size": [H, W], "counts": list or text}`.
        height, width: of the image.

    Raises:
        BadAnnotation: no such thing, not finite, outside the image, or without a pixel.
    """
    if isinstance(segmentation, list):
        rle = pycocotools.mask.merge(
            pycocotools.mask.frPyObjects(_polygons(segmentation, height, width), height, width)
        )
    elif isinstance(segmentation, dict):
        counts = _run_lengths(segmentation, height, width)
        rle = pycocotools.mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    else:
        raise BadAnnotation("neither polygons nor run lengths")
    if pycocotools.mask.area(rle) == 0:
        raise BadAnnotation("no pixel in the image")
    return rle


def decode(rle: dict) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Return the pixels of what `compress` returned within its box (`[h, w]` bool), and the box."""
    left, top, across, down = pycocotools.mask.toBbox(rle).astype(int)
    box = (slice(top, top + down), slice(left, left + across))
    return pycocotools.mask.decode(rle)[box] > 0, box


def _polygons(segmentation: list, height: int, width: int) -> list[list[float]]:
    if not segmentation:
        raise BadAnnotation("no polygon")
    if all(isinstance(value, int | float) for value in segmentation):
        raise BadAnnotation("a list of numbers instead of a list of polygons")
    return [_polygon(polygon, height, width) for polygon in segmentation]


def _polygon(polygon: object, height: int, width: int) -> list[float]:
    if not isinstance(polygon, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in polygon):
        raise BadAnnotation("a polygon that is no list of numbers")
    if len(polygon) < NUMBERS or len(polygon) % 2:
        raise BadAnnotation(f"a polygon of {len(polygon)} numbers; {CORNERS} corners or more have two each")
    if not all(map(math.isfinite, polygon)):
        raise BadAnnotation("a corner that is not finite")
    for values, side in ((polygon[::2], width), (polygon[1::2], height)):
        # A nucleus at the border may reach out of the image, but not by a whole image.
        if max(values) <= 0 or min(values) >= side or min(values) < -side or max(values) > 2 * side:
            raise BadAnnotation("outside the image")
    return [float(value) for value in polygon]


def _run_lengths(segmentation: dict, height: int, width: int) -> list[int]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or size != [height, width]:
        raise BadAnnotation(f"run lengths of size {size} in an image of {height} x {width}")
    if isinstance(counts, str):
        counts = _decompress(counts, height * width)
    if not isinstance(counts, list) or any(isinstance(run, bool) or not isinstance(run, int) for run in counts):
        raise BadAnnotation("run lengths that are no whole numbers")
    if any(run < 0 for run in counts) or sum(counts) != height * width:
        raise BadAnnotation(f"run lengths that add up to {sum(counts)} of {height * width} pixels")
    return counts


def _decompress(text: str, pixels: int) -> list[int]:
    """Return the run lengths of COCO's text: numbers of 5 bits a character, from the third on as differences."""
    counts: list[int] = []
    characters = iter(text.encode("ascii", "replace"))
    for first in characters:
        value, shift, code = 0, 0, first
        while True:
            bits = code - 48
            if not 0 <= bits < 64 or shift > 60:
                raise BadAnnotation("compressed run lengths with a character that is none of theirs")
            value |= (bits & 31) << shift
            shift += 5
            if not bits & 32:
                value -= (1 << shift) if bits & 16 else 0
                break
            code = next(characters, 0)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        if not 0 <= counts[-1] <= pixels:
            raise BadAnnotation(f"a run of {counts[-1]} pixels in an image of {pixels}")
    return counts


def check_number(value: object, what: str, whole: bool = False) -> float:
    """Return a finite number of an annotation.

    Raises:
        BadAnnotation: it is none.
    """
    good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    # 2^31: a class has to fit a class map.
    if not good or not math.isfinite(value) or abs(value) >= 2**31:  # type: ignore[arg-type]
        raise BadAnnotation(f"{what} {value!r}")
    return float(value)  # type: ignore[arg-type]


def first_reasons(reasons: Sequence[tuple[object, str]], shown: int = 3) -> str:
    """Return the first ids of annotations with what is wrong with them, and how many more there are."""
    named = "; ".join(f"{name}: {reason}" for name, reason in reasons[:shown])
    return named + (f"; and {len(reasons) - shown} more" if len(reasons) > shown else "")
