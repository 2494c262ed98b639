"""Outlines, errors and side-by-side views on tissue, readable in print and by colour-blind eyes (Okabe-Ito).

In all functions `image` is `[H, W, 3]` uint8 RGB and a label map `[H, W]` int, 0 = background.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import scipy.ndimage as ndi
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import expand_labels

from cyclic.evaluation.matching import Overlaps, contingency, match

# Okabe and Ito (2008) without black and reddish purple, which vanish on stained nuclei.
OUTLINE_COLORS = np.array(
    [(240, 228, 66), (86, 180, 233), (0, 158, 115), (230, 159, 0), (0, 114, 178), (213, 94, 0)], np.uint8
)
ERROR_COLORS = {
    "hit": (0, 158, 115),
    "missed": (213, 94, 0),
    "false": (0, 114, 178),
    "merged": (240, 228, 66),
    "split": (86, 180, 233),
}
# Nuclei closer than twice this (px) count as neighbours and get different colours.
NEIGHBOUR_REACH = 8
# cv2 takes coordinates in fractions of 2 ** -SHIFT px.
SHIFT = 4
CAPTION_SIZE = 18
PADDING = 8
# Print quality: a picture fills a journal's column, 85 mm.
PRINT_DPI, PRINT_SIDE, MAX_UPSCALE = 300, 1000, 4


def print_upscale(image: np.ndarray) -> int:
    """Return the factor by which small images are enlarged for print; larger ones have pixels enough."""
    return max(1, min(MAX_UPSCALE, round(PRINT_SIDE / max(image.shape[:2]))))


def enlarge(image: np.ndarray, upscale: int) -> np.ndarray:
    """Return `[H * upscale, W * upscale, 3]` uint8, interpolated."""
    return cv2.resize(image, None, fx=upscale, fy=upscale, interpolation=cv2.INTER_CUBIC)


def contour_overlay(image: np.ndarray, labels: np.ndarray, upscale: int = 2) -> np.ndarray:
    """Outline every nucleus, neighbours in different colours.

    Returns:
        `[H * upscale, W * upscale, 3]` uint8.

    Raises:
        ValueError: image and labels differ in size.
    """
    _require_same_size(image, labels)
    canvas = enlarge(image, upscale)
    colors = OUTLINE_COLORS[neighbour_colors(labels, len(OUTLINE_COLORS))]
    for label, where in enumerate(ndi.find_objects(labels), 1):
        if where is not None:
            _outline(canvas, labels[where] == label, where, colors[label], upscale)
    return canvas


def pseudo_overlay(image: np.ndarray, labels: np.ndarray, ignore: np.ndarray, upscale: int = 2) -> np.ndarray:
    """Outline pseudo masks and lay a white veil over what training ignores (`[H, W]` bool).

    Returns:
        `[H * upscale, W * upscale, 3]` uint8.

    Raises:
        ValueError: image and maps differ in size.
    """
    _require_same_size(image, ignore)
    veiled = image.copy()
    veiled[ignore] = veiled[ignore] // 2 + 127
    return contour_overlay(veiled, labels, upscale)


def map_colors(values: np.ndarray) -> np.ndarray:
    """Return a map (`[H, W]` float in [0, 1]) in the colours of magma, `[H, W, 3]` uint8: 0 is black, 1 pale yellow."""
    return cv2.applyColorMap(np.round(values * 255).astype(np.uint8), cv2.COLORMAP_MAGMA)[..., ::-1]


def neighbour_colors(labels: np.ndarray, colors: int) -> np.ndarray:
    """Return `[labels.max() + 1]` int64 colour numbers below `colors` that differ between neighbouring nuclei.

    Greedy, the nucleus with the most neighbours first. In the rare knot where all colours are taken the least used is
    taken.
    """
    grown = expand_labels(labels, NEIGHBOUR_REACH)
    sides = [(grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])]
    pairs = np.concatenate([np.stack([a[a != b], b[a != b]], axis=1) for a, b in sides])
    pairs = np.unique(np.sort(pairs[(pairs > 0).all(axis=1)], axis=1), axis=0)
    neighbours: list[list[int]] = [[] for _ in range(labels.max(initial=0) + 1)]
    for a, b in pairs.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    chosen = np.full(len(neighbours), -1)
    for nucleus in sorted(range(len(neighbours)), key=lambda i: -len(neighbours[i])):
        taken = chosen[neighbours[nucleus]] if neighbours[nucleus] else np.zeros(0, np.int64)
        used = np.bincount(taken[taken >= 0], minlength=colors)
        # Starting at another colour each time spreads the colours over nuclei without neighbours.
        start = nucleus % colors
        chosen[nucleus] = (start + np.argmin(np.roll(used, -start))) % colors
    return chosen


def error_overlay(image: np.ndarray, true: np.ndarray, pred: np.ndarray, upscale: int = 2) -> np.ndarray:
    """Colour hits, missed, false, merged and split nuclei, with a legend strip that counts them below.

    Hits, false and merged predictions and the predictions that split a nucleus show the predicted shape; missed nuclei
    the true one. The true outlines are drawn thin in white.

    Returns:
        `[H * upscale + legend, W * upscale, 3]` uint8.

    Raises:
        ValueError: image and label maps differ in size.
    """
    _require_same_size(image, true)
    _require_same_size(image, pred)
    overlaps = contingency(true, pred)
    true_class, pred_class = error_classes(overlaps)
    canvas = enlarge(image, upscale)
    for where, mask in _shapes(true, overlaps.true_ids):
        _outline(canvas, mask, where, (255, 255, 255), upscale)
    for labels, ids, classes, shown in (
        (true, overlaps.true_ids, true_class, ("missed",)),
        (pred, overlaps.pred_ids, pred_class, ("hit", "false", "merged", "split")),
    ):
        for (where, mask), kind in zip(_shapes(labels, ids), classes, strict=True):
            if kind in shown:
                _tint(canvas, mask, where, ERROR_COLORS[kind], upscale)
                _outline(canvas, mask, where, ERROR_COLORS[kind], upscale)
    counts = {kind: pred_class.count(kind) for kind in ERROR_COLORS}
    counts |= {"missed": true_class.count("missed"), "split": true_class.count("split")}
    return np.concatenate([canvas, _legend(canvas.shape[1], counts)])


def error_classes(overlaps: Overlaps) -> tuple[list[str], list[str]]:
    """Say what became of each true nucleus and what each prediction is.

    A pair at IoU > 0.5 is a hit. Of the rest, a prediction that holds most of two or more true nuclei merges them, and
    a true nucleus that holds most of two or more predictions is split into them. A piece of a nucleus whose other piece
    is a hit counts as "split", the nucleus as "hit"; the same holds for merging.

    Returns:
        T strings out of "hit", "missed", "merged", "split", and P out of "hit", "false", "merged", "split".
    """
    hits = match(overlaps).pairs
    true_class = np.full(len(overlaps.true_ids), "missed", dtype="<U6")
    pred_class = np.full(len(overlaps.pred_ids), "false", dtype="<U6")

    swallowed = 2 * overlaps.intersections > overlaps.true_areas[overlaps.rows]
    merging = np.bincount(overlaps.cols[swallowed], minlength=len(pred_class)) >= 2
    pred_class[merging] = "merged"
    true_class[overlaps.rows[swallowed & merging[overlaps.cols]]] = "merged"

    piece = 2 * overlaps.intersections > overlaps.pred_areas[overlaps.cols]
    splitting = np.bincount(overlaps.rows[piece], minlength=len(true_class)) >= 2
    true_class[splitting] = "split"
    pred_class[overlaps.cols[piece & splitting[overlaps.rows]]] = "split"

    true_class[overlaps.rows[hits]] = "hit"
    pred_class[overlaps.cols[hits]] = "hit"
    return true_class.tolist(), pred_class.tolist()


def side_by_side(panels: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """Set images beside each other, each under its title; lower ones are padded with white.

    Args:
        panels: (title, `[h, w, 3]` uint8) pairs, at least one, of any sizes.

    Returns:
        `[max h + caption, sum w + gaps, 3]` uint8.
    """
    size = _caption_size(max(image.shape[1] for _, image in panels))
    top = size + PADDING
    height = top + max(image.shape[0] for _, image in panels)
    width = sum(image.shape[1] for _, image in panels) + PADDING * (len(panels) - 1)
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=size)
    left = 0
    for title, image in panels:
        canvas.paste(Image.fromarray(image), (left, top))
        draw.text((left + 2, PADDING // 2), _shorten(title, font, image.shape[1] - 2), fill="black", font=font)
        left += image.shape[1] + PADDING
    return np.asarray(canvas)


def _caption_size(width: int) -> int:
    """Height in px of the letters on a picture of `width` px: at least 7 points in print on a column's width."""
    return max(CAPTION_SIZE, width // 34)


def _shorten(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(title) <= width:
        return title
    while title and font.getlength(title + "...") > width:
        title = title[:-1]
    return title + "..."


def _require_same_size(image: np.ndarray, labels: np.ndarray) -> None:
    if image.shape[:2] != labels.shape:
        raise ValueError(f"image of {image.shape[:2]} px, label map of {labels.shape}; both must show the same area")


def _shapes(labels: np.ndarray, ids: np.ndarray) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """Place and mask of each of `ids`, ascending and all present in `labels`."""
    places = [where for where in ndi.find_objects(labels) if where is not None]
    return [(where, labels[where] == label) for label, where in zip(ids, places, strict=True)]


def _outline(canvas: np.ndarray, mask: np.ndarray, where: tuple[slice, slice], color: Sequence, upscale: int) -> None:
    """Draw an anti-aliased line through the mask's border pixels, so that touching nuclei keep two lines."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corner = np.array([where[1].start, where[0].start])
    lines = [(((points + corner + 0.5) * upscale - 0.5) * 2**SHIFT).round().astype(np.int32) for points in contours]
    width = max(1, upscale // 2)
    cv2.polylines(canvas, lines, True, tuple(int(c) for c in color), width, cv2.LINE_AA, SHIFT)


def _tint(canvas: np.ndarray, mask: np.ndarray, where: tuple[slice, slice], color: Sequence, upscale: int) -> None:
    rows, columns = (slice(axis.start * upscale, axis.stop * upscale) for axis in where)
    crop, large = canvas[rows, columns], np.kron(mask, np.ones((upscale, upscale), bool))
    crop[large] = (0.65 * crop[large] + 0.35 * np.array(color)).astype(np.uint8)


def _legend(width: int, counts: dict[str, int]) -> np.ndarray:
    """`[h, width, 3]` uint8 strip with a coloured square and the count of each class, in as many lines as it takes."""
    size = _caption_size(width)
    font, line = ImageFont.load_default(size=size), size + PADDING
    places, left, top = [], PADDING, 0
    for kind, count in counts.items():
        text = f"{kind} {count}"
        length = size + PADDING + int(font.getlength(text)) + 2 * PADDING
        if left > PADDING and left + length > width:
            left, top = PADDING, top + line
        places.append((left, top + PADDING // 2, kind, text))
        left += length
    strip = Image.new("RGB", (width, top + line), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, kind, text in places:
        draw.rectangle((x, y + 2, x + size - 2, y + size), fill=ERROR_COLORS[kind])
        draw.text((x + size + PADDING // 2, y), text, fill="black", font=font)
    return np.asarray(strip)
