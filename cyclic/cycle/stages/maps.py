"""Activation maps of whole images."""

import numpy as np

from cyclic.activation.maps import activation_map
from cyclic.cycle.context import Context
from cyclic.files import write_image
from cyclic.images import read_map
from cyclic.networks import Models


def make(context: Context, cycle: int) -> None:
    """Write the activation map of every training and val image as an 8-bit picture."""
    paths = context.cycle(cycle)
    context.models.load(paths.classifier)
    for name, image in context.progress.track(list(context.images.items()), f"cycle_{cycle}/maps"):
        activation = image_map(context.models, image)
        write_image(paths.map(name), np.round(activation * 255).astype(np.uint8))


def read(context: Context, cycle: int, name: str) -> np.ndarray | None:
    """Return the activation map that `make` wrote, `[H, W]` float32 in [0, 1]; None in a run without classifier."""
    return read_map(context.cycle(cycle).map(name)) if context.config.supervision == "image" else None


def image_map(models: Models, image: np.ndarray) -> np.ndarray:
    """Return the classifier's activation map of an image (`[H, W, 3]` uint8), `[H, W]` float32 in [0, 1]."""
    config = models.config
    return activation_map(
        models.classifier,
        image,
        config.mean_pixel,
        method=config.maps.method,
        level=config.maps.level,
        scale=config.scale,
        context=config.tiles.size,
    )
