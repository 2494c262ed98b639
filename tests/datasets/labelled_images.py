"""Labelled images for the tests of tiles."""

import numpy as np


class Images:
    """Labelled images in memory: `{id: (image, label map)}`."""

    def __init__(self, images):
        self.images, self.ids = images, list(images)

    def image(self, image_id):
        return self.images[image_id][0]

    def label_map(self, image_id):
        return self.images[image_id][1]


def field(seed: int = 0, side: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise with nuclei in its left half only."""
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    labels = np.zeros((side, side), np.int32)
    labels[10:40, 10:40], labels[60:100, 20:50], labels[120:150, 5:45] = 1, 2, 9
    return image, labels


def fields(count: int = 4) -> Images:
    return Images({f"image_{k}": field(k) for k in range(count)})
