"""Outlines, errors and side-by-side views on tissue.

In all functions `image` is `[H, W, 3]` uint8 RGB and a label map `[H, W]` int, 0 = background.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import scipy.ndimage as ndi
from PIL import Image, ImageDraw, ImageFont

from cyclic.draw.colours import ERROR_COLORS, OUTLINE_COLORS, neighbour_colors

# cv2 takes coordinates in fractions of 2 ** -SHIFT px.
SHIFT = 4
CAPTION_SIZE = 18
PADDING = 8
# Rows and columns of a nucleus in its label map.
Box = tuple[slice, slice]
# Print quality: a picture fills a journal's column, 85 mm.
PRINT_DPI, PRINT_SIDE, MAX_UPSCALE = 300, 1000, 4


def print_upscale(image: np.ndarray) -> int:
    """Return the factor by which an image is enlarged for print: 1 for an image with enough pixels."""
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
    for label, where, mask in _shapes(labels):
        _outline(canvas, mask, where, colors[label], upscale)
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


def error_overlay(
    image: np.ndarray,
    true: np.ndarray,
    pred: np.ndarray,
    errors: tuple[np.ndarray, np.ndarray, dict[str, int]],
    upscale: int = 2,
) -> np.ndarray:
    """Colour hits, missed, false, merged and split nuclei. A legend below counts them.

    A missed nucleus shows its true shape, all other kinds the predicted one. The true outlines are thin white lines.

    Args:
        image: `[H, W, 3]` uint8.
        true: `[H, W]` integer ground truth.
        pred: `[H, W]` integer prediction.
        errors: what `evaluation.error_types.find_errors` returns: the kinds of the true nuclei and of the predictions,
            both by ascending label, and how many there are of each kind.
        upscale: factor by which the picture is enlarged.

    Returns:
        `[H * upscale + legend, W * upscale, 3]` uint8.

    Raises:
        ValueError: image and label maps differ in size.
    """
    _require_same_size(image, true)
    _require_same_size(image, pred)
    of_true, of_pred, counts = errors
    canvas = enlarge(image, upscale)
    for _, where, mask in _shapes(true):
        _outline(canvas, mask, where, (255, 255, 255), upscale)
    for labels, kinds, shown in ((true, of_true, {"missed"}), (pred, of_pred, {"hit", "false", "merged", "split"})):
        for kind, (_, where, mask) in zip(kinds, _shapes(labels), strict=True):
            if kind in shown:
                _tint(canvas, mask, where, ERROR_COLORS[kind], upscale)
                _outline(canvas, mask, where, ERROR_COLORS[kind], upscale)
    return np.concatenate([canvas, _legend(canvas.shape[1], counts)])


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
    """Return the height of letters in px on a picture of `width` px: at least 7 points in a printed column."""
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


def _shapes(labels: np.ndarray) -> Iterator[tuple[int, Box, np.ndarray]]:
    """Yield label, box and mask (`[h, w]` bool, of the box) of each nucleus, by ascending label."""
    for label, where in enumerate(ndi.find_objects(labels), 1):
        if where is not None:
            yield label, where, labels[where] == label


def _outline(canvas: np.ndarray, mask: np.ndarray, where: Box, color: Sequence, upscale: int) -> None:
    """Draw an anti-aliased line through the mask's border pixels, so that touching nuclei keep two lines."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    corner = np.array([where[1].start, where[0].start])
    lines = [(((points + corner + 0.5) * upscale - 0.5) * 2**SHIFT).round().astype(np.int32) for points in contours]
    width = max(1, upscale // 2)
    cv2.polylines(canvas, lines, True, tuple(int(c) for c in color), width, cv2.LINE_AA, SHIFT)


def _tint(canvas: np.ndarray, mask: np.ndarray, where: Box, color: Sequence, upscale: int) -> None:
    rows, columns = (slice(axis.start * upscale, axis.stop * upscale) for axis in where)
    crop, large = canvas[rows, columns], np.kron(mask, np.ones((upscale, upscale), bool))
    crop[large] = (0.65 * crop[large] + 0.35 * np.array(color)).astype(np.uint8)


def _legend(width: int, counts: dict[str, int]) -> np.ndarray:
    """Return a strip, `[h, width, 3]` uint8, with a coloured square and the count of each kind, in lines as needed."""
    size = _caption_size(width)
    font, line = ImageFont.load_default(size=size), size + PADDING
    entries, left, top = [], PADDING, 0
    for kind, count in counts.items():
        text = f"{kind} {count}"
        length = size + PADDING + int(font.getlength(text)) + 2 * PADDING
        if left > PADDING and left + length > width:
            left, top = PADDING, top + line
        entries.append((left, top + PADDING // 2, kind, text))
        left += length
    strip = Image.new("RGB", (width, top + line), "white")
    draw = ImageDraw.Draw(strip)
    for x, y, kind, text in entries:
        draw.rectangle((x, y + 2, x + size - 2, y + size), fill=ERROR_COLORS[kind])
        draw.text((x + size + PADDING // 2, y), text, fill="black", font=font)
    return np.asarray(strip)
