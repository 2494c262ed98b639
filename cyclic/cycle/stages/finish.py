"""The end of a run: the finished weights, and pictures of the val images, or without any of the training images."""

from cyclic.cycle.context import Context
from cyclic.draw.overlays import PRINT_DPI, contour_overlay, enlarge, error_overlay, print_upscale, side_by_side
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.files import write_image
from cyclic.label_maps import read_label_map
from cyclic.trained import write_finished


def finish(context: Context) -> None:
    """Keep the last model as `best.weights.h5` (selection: last) and draw the overlays of the images shown."""
    cycles = context.config.cycles
    last = context.cycle(cycles)
    context.models.load(last.weights)  # a broken file is named, and never called the best
    write_finished(context.paths.best, last.weights, last.classifier if context.config.supervision == "image" else None)
    for name in context.shown_ids:
        labels, image = read_label_map(context.last_round(cycles).prediction(name)), context.images[name]
        scale = print_upscale(image)
        pictures = [("image", enlarge(image, scale)), ("prediction", contour_overlay(image, labels, scale))]
        if context.val is not None and context.val.has_labels(name):
            true = context.val.label_map(name)
            pictures.append(("ground truth", contour_overlay(image, true, scale)))
            errors = find_errors(contingency(true, labels))
            pictures.append(("errors", error_overlay(image, true, labels, errors, scale)))
        write_image(context.paths.overlay(name), side_by_side(pictures), PRINT_DPI)
