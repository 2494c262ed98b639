"""Drawings of images, instances, boxes and weights with matplotlib, under Matterport's names.

Every function draws with or without a display; on the file backend (Agg) no window is asked for. Functions that draw
one picture return its axes. Boxes are (y1, x1, y2, x2) in pixels; a box of zeros is padding and is not drawn.
"""

import colorsys

import cv2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import lines, patches
from matplotlib.colors import to_rgb
from skimage.measure import find_contours

from cyclic.mrcnn.geometry.masks_numpy import unmold_mask
from cyclic.mrcnn.matterport.average_precision import compute_matches, trim_zeros
from cyclic.mrcnn.matterport.charts import display_table, display_weight_stats, plot_overlaps, plot_precision_recall

__all__ = [
    "apply_mask", "display_differences", "display_images", "display_instances", "display_table", "display_top_masks",
    "display_weight_stats", "draw_box", "draw_boxes", "draw_rois", "plot_overlaps", "plot_precision_recall",
    "random_colors",
]  # fmt: skip


def _show():
    if plt.get_backend().lower() != "agg":
        plt.show()


def _image_axes(image, title, ax, margin=10, figsize=(12, 12)):
    """Return axes, new ones where `ax` is None, that show `margin` pixels around the image."""
    ax = ax or plt.subplots(1, figsize=figsize)[1]
    ax.set_ylim(image.shape[0] + margin, -margin)
    ax.set_xlim(-margin, image.shape[1] + margin)
    ax.axis("off")
    ax.set_title(title)
    return ax


def _add_box(ax, box, color, style="solid", alpha=1.0):
    y1, x1, y2, x2 = (float(side) for side in box[:4])
    rectangle = patches.Rectangle((x1, y1), x2 - x1, y2 - y1, linewidth=2, alpha=alpha, linestyle=style)
    rectangle.set(edgecolor=color, facecolor="none")
    ax.add_patch(rectangle)


def _add_contours(ax, mask, color):
    # A border of zeros closes the contours of masks that touch the edge.
    for contour in find_contours(np.pad(mask.astype(np.uint8), 1), 0.5):
        ax.add_patch(patches.Polygon(contour[:, ::-1] - 1, facecolor="none", edgecolor=color))


def display_images(images, titles=None, cols=4, cmap=None, norm=None, interpolation=None):
    """Show images (`[H, W, 3]` or `[H, W]`, 0 to 255) side by side, `cols` in a row, and return the figure."""
    titles = titles if titles is not None else [""] * len(images)
    rows = -(-len(images) // cols)
    figure = plt.figure(figsize=(14, max(14 * rows // cols, 2)))
    for number, (image, title) in enumerate(zip(images, titles, strict=True), start=1):
        ax = figure.add_subplot(rows, cols, number)
        ax.set_title(title, fontsize=9)
        ax.axis("off")
        ax.imshow(np.asarray(image).astype(np.uint8), cmap=cmap, norm=norm, interpolation=interpolation)
    _show()
    return figure


def random_colors(N, bright=True, rng=None):
    """Return N distinct RGB colours, floats in [0, 1], in an order drawn from `rng` (seed or Generator; default 0)."""
    colors = [colorsys.hsv_to_rgb(index / N, 1, 1.0 if bright else 0.7) for index in range(N)]
    return [colors[index] for index in np.random.default_rng(0 if rng is None else rng).permutation(N)]


def apply_mask(image, mask, color, alpha=0.5):
    """Blend `color` (RGB in [0, 1]) into `image` (`[H, W, 3]`, changed in place and returned) where `mask` is set."""
    inside = np.asarray(mask) == 1
    image[inside] = image[inside] * (1 - alpha) + alpha * 255 * np.asarray(color)[:3]
    return image


def display_instances(
    image,
    boxes,
    masks,
    class_ids,
    class_names,
    scores=None,
    title="",
    figsize=(16, 16),
    ax=None,
    show_mask=True,
    show_bbox=True,
    colors=None,
    captions=None,
):
    """Draw instances on the image: mask, outline, box and caption, each in its colour.

    Args:
        image: `[H, W, 3]` uint8.
        boxes: `[N, 4]`.
        masks: `[H, W, N]`.
        class_ids: `[N]` int, indices into `class_names`.
        scores: `[N]`, shown behind the class name, or None.
        ax: axes to draw on; None makes a figure of `figsize` inches and shows it.
        colors: N colours, or None for random ones.
        captions: N strings, or None for class name and score.

    Raises:
        ValueError: the numbers of boxes, masks and class ids differ, or the masks are not of the image's size.
    """
    count = len(boxes)
    if not count == masks.shape[-1] == len(class_ids):
        raise ValueError(f"{count} boxes, {masks.shape[-1]} masks, {len(class_ids)} class ids: one of each an instance")
    if count and masks.shape[:2] != image.shape[:2]:
        raise ValueError(f"masks of {masks.shape[:2]} for an image of {image.shape[:2]}; give them in its size")
    if not count:
        print("\n*** No instances to display *** \n")
    new, ax = ax is None, _image_axes(image, title, ax, figsize=figsize)
    colors = colors or random_colors(count)
    painted = image.astype(np.uint32)
    for index in np.flatnonzero(np.any(boxes, axis=-1)) if count else ():
        color = colors[index]
        if show_bbox:
            _add_box(ax, boxes[index], color, style="dashed", alpha=0.7)
        caption = captions[index] if captions else class_names[class_ids[index]]
        if not captions and scores is not None:
            caption = f"{caption} {scores[index]:.3f}"
        ax.text(boxes[index][1], boxes[index][0] + 8, caption, color="w", size=11, backgroundcolor="none")
        if show_mask:
            apply_mask(painted, masks[..., index], color)
        _add_contours(ax, masks[..., index], color)
    ax.imshow(painted.astype(np.uint8))
    if new:
        _show()
    return ax


def display_differences(
    image,
    gt_box,
    gt_class_id,
    gt_mask,
    pred_box,
    pred_class_id,
    pred_score,
    pred_mask,
    class_names,
    title="",
    ax=None,
    show_mask=True,
    show_box=True,
    iou_threshold=0.5,
    score_threshold=0.5,
):
    """Draw ground truth (green) and predictions (red, captioned "score / IoU") on one image; see `compute_matches`."""
    gt_count, pred_count = len(trim_zeros(gt_box)), len(trim_zeros(pred_box))
    gt = (gt_box[:gt_count], gt_class_id[:gt_count], gt_mask[..., :gt_count])
    order = np.argsort(pred_score[:pred_count])[::-1]  # that of the rows of overlaps
    pred = (pred_box[order], pred_class_id[order], pred_score[order], pred_mask[..., order])
    _, pred_match, overlaps = compute_matches(*gt, *pred, iou_threshold=iou_threshold, score_threshold=score_threshold)
    captions = [""] * gt_count
    for row, (score, match) in enumerate(zip(pred[2], pred_match, strict=True)):
        overlap = overlaps[row, int(match)] if match > -1 else overlaps[row].max(initial=0)
        captions.append(f"{score:.2f} / {overlap:.2f}")
    return display_instances(
        image,
        np.concatenate([gt[0], pred[0]]),
        np.concatenate([gt[2], pred[3]], axis=-1),
        np.concatenate([gt[1], pred[1]]),
        class_names,
        ax=ax,
        show_bbox=show_box,
        show_mask=show_mask,
        colors=[(0, 1, 0, 0.8)] * gt_count + [(1, 0, 0, 1)] * pred_count,
        captions=captions,
        title=title or "Ground Truth and Detections\n GT=green, pred=red, captions: score/IoU",
    )


def draw_rois(image, rois, refined_rois, mask, class_ids, class_names, limit=10, rng=None):
    """Draw ROIs (dashed), what positive ones are refined to (solid), and their masks.

    Args:
        image: `[H, W, 3]` uint8.
        rois, refined_rois: `[N, 4]`.
        mask: `[N, M, M]` float, each the mask inside its ROI.
        class_ids: `[N]` int, 0 for negative ROIs, which are grey.
        limit: the most ROIs to draw, chosen by `rng` (seed or Generator; default 0).
    """
    rng = np.random.default_rng(0 if rng is None else rng)
    chosen = rng.choice(len(rois), limit, replace=False) if len(rois) > limit else np.arange(len(rois))
    shown = f"{len(chosen)} of {len(rois)} ROIs" if len(chosen) < len(rois) else f"{len(rois)} ROIs"
    ax = _image_axes(image, shown, None, margin=20)
    painted = image.copy()
    for index, color in zip(chosen, random_colors(len(chosen), rng=rng), strict=True):
        positive = class_ids[index] > 0
        _add_box(ax, rois[index], color if positive else "gray", style="dashed")
        if positive:
            (y1, x1), (refined_y1, refined_x1) = rois[index][:2], refined_rois[index][:2]
            _add_box(ax, refined_rois[index], color)
            ax.add_line(lines.Line2D([x1, refined_x1], [y1, refined_y1], color=color))
            ax.text(refined_x1, refined_y1 + 8, class_names[class_ids[index]], color="w", size=11)
            apply_mask(painted, unmold_mask(mask[index], rois[index][:4].astype(np.int32), image.shape), color)
    ax.imshow(painted)
    positives = int((class_ids > 0).sum())
    print(f"Positive ROIs: {positives}\nNegative ROIs: {int((class_ids == 0).sum())}")
    print(f"Positive Ratio: {positives / max(len(class_ids), 1):.2f}")
    return ax


def draw_box(image, box, color):
    """Draw the outline of a box, 2 pixels wide, into `image` (`[H, W, 3]` uint8) in `color` (RGB, 0 to 255)."""
    y1, x1, y2, x2 = (int(side) for side in box[:4])
    return cv2.rectangle(image, (x1, y1), (x2, y2), color=tuple(int(value) for value in color), thickness=2)


def display_top_masks(image, mask, class_ids, class_names, limit=4):
    """Show the image and, of the `limit` classes that cover most of it, the instances in shades of blue."""
    areas = {class_id: mask[..., class_ids == class_id].sum() for class_id in np.unique(class_ids)}
    top = sorted((class_id for class_id, area in areas.items() if area), key=lambda class_id: -areas[class_id])[:limit]
    # Each instance of a class has its own shade.
    pictures = [mask[..., class_ids == class_id] for class_id in top]
    pictures = [(picture * np.arange(1, picture.shape[-1] + 1)).sum(axis=-1) for picture in pictures]
    blanks = limit - len(top)
    titles = [f"H x W={image.shape[0]}x{image.shape[1]}", *(class_names[i] for i in top), *["-"] * blanks]
    pictures += [np.zeros(image.shape[:2])] * blanks
    return display_images([image, *pictures], titles=titles, cols=limit + 1, cmap="Blues_r")


def draw_boxes(image, boxes=None, refined_boxes=None, masks=None, captions=None, visibilities=None, title="", ax=None):
    """Draw boxes (dotted), what they are refined to (solid), masks and captions.

    Args:
        image: `[H, W, 3]` uint8.
        boxes, refined_boxes: `[N, 4]`; one of them may be None.
        masks: `[H, W, N]` or None.
        captions: N strings or None.
        visibilities: N of 0 (grey, its refinement left out), 1 or 2 (solid); None is 1 for all.
        ax: axes to draw on, or None for new ones.

    Raises:
        ValueError: neither boxes nor refined boxes.
    """
    if boxes is None and refined_boxes is None:
        raise ValueError("draw_boxes needs boxes, refined_boxes or both")
    ax = _image_axes(image, title, ax, margin=image.shape[0] // 10)
    count = len(refined_boxes if boxes is None else boxes)
    painted = image.astype(np.uint32)
    for index, color in enumerate(random_colors(count)):
        visibility = 1 if visibilities is None else visibilities[index]
        color = color if visibility else "gray"
        corner = None
        if boxes is not None:
            if not np.any(boxes[index]):
                continue
            corner = boxes[index][:2]
            _add_box(ax, boxes[index], color, "solid" if visibility == 2 else "dotted", 1 if visibility else 0.5)
        if refined_boxes is not None and visibility:
            start, corner = corner, refined_boxes[index][:2]
            _add_box(ax, refined_boxes[index], color)
            if start is not None:
                ax.add_line(lines.Line2D([start[1], corner[1]], [start[0], corner[0]], color=color))
        if captions is not None and corner is not None:
            background = {"facecolor": color, "alpha": 0.5, "pad": 2, "edgecolor": "none"}
            ax.text(corner[1], corner[0], captions[index], size=11, va="top", color="w", bbox=background)
        if masks is not None:
            apply_mask(painted, masks[..., index], to_rgb(color))
            _add_contours(ax, masks[..., index], color)
    ax.imshow(painted.astype(np.uint8))
    return ax
