"""Pseudo masks as a training set for Mask R-CNN."""

import numpy as np

from cyclic.datasets.augment import flip_turn, stain_jitter
from cyclic.pseudo.masks import PseudoMasks


class PseudoDataset:
    """Images and pseudo masks in memory, with the methods that `mrcnn.data.loader.DataGenerator` asks of a data set.

    Args:
        images: `{image id: [H, W, 3] uint8}`.
        pseudo: `{image id: PseudoMasks}` of the same ids.
    """

    def __init__(self, images: dict[str, np.ndarray], pseudo: dict[str, PseudoMasks]):
        self._images = [images[name] for name in pseudo]
        self._pseudo = list(pseudo.values())
        self.image_ids = np.arange(len(self._images))
        self.image_info = [{"id": name, "source": "pseudo", "path": name} for name in pseudo]
        self.source_class_ids = {"pseudo": [0, 1]}

    def load_image(self, image_id: int) -> np.ndarray:
        """Return `[H, W, 3]` uint8."""
        return self._images[image_id]

    def load_label_map(self, image_id: int) -> np.ndarray:
        """Return the pseudo masks as `[H, W]` int32."""
        return self._pseudo[image_id].labels

    def load_ignore(self, image_id: int) -> np.ndarray:
        """Return `[H, W]` bool, True where no loss may look."""
        return self._pseudo[image_id].ignore


class CropAugmentation:
    """Flips and turns of image, labels and ignore map alike; stain jitter in the image.

    Args:
        sigma: strength of the stain jitter, see `stain_jitter`; 0 for none.
    """

    def __init__(self, sigma: float):
        self.sigma = sigma

    def __call__(self, image, labels, ignore, rng):
        image, labels, ignore = flip_turn(rng, image, labels, ignore)
        if self.sigma:
            image = stain_jitter(image, rng, self.sigma)
        return image, labels, ignore
