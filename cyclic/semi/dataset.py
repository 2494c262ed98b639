"""Pseudo masks as a training set for Mask R-CNN."""

from collections.abc import Sequence

import numpy as np

from cyclic.config import RunConfig
from cyclic.datasets.augment import flip_turn, other_lab, stain_jitter, vary_as_paper
from cyclic.pseudo.masks import PseudoMasks


class PseudoDataset:
    """Images and pseudo masks in memory, with the methods that `mrcnn.data.loader.DataGenerator` asks of a data set.

    Args:
        images: `{image id: [H, W, 3] uint8}`.
        pseudo: `{image id: PseudoMasks}` of the same ids.
        drawn: ids of one pass over the images, where some come several times; None: each once.
    """

    def __init__(
        self, images: dict[str, np.ndarray], pseudo: dict[str, PseudoMasks], drawn: Sequence[str] | None = None
    ):
        self._images = [images[name] for name in pseudo]
        self._pseudo = list(pseudo.values())
        position = {name: index for index, name in enumerate(pseudo)}
        self.image_ids = np.array([position[name] for name in drawn or pseudo])
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


def crop_augmentation(config: RunConfig) -> "CropAugmentation":
    """Return the augmentation of training crops that a run's settings ask for."""
    kind = config.augmentation
    return CropAugmentation(config.mask_rcnn.stain_jitter, many_labs=kind == "wide", paper=kind == "paper")


class CropAugmentation:
    """Flips and turns of image, labels and ignore map alike; stain jitter in the image.

    Args:
        sigma: strength of the stain jitter, see `stain_jitter`; 0 for none.
        many_labs: also show the tissue as other labs might, see `other_lab`.
        paper: do what `vary_as_paper` does, and nothing else.
    """

    def __init__(self, sigma: float, many_labs: bool = False, paper: bool = False):
        self.sigma, self.many_labs, self.paper = sigma, many_labs, paper

    def __call__(self, image, labels, ignore, rng):
        if self.paper:
            return vary_as_paper(rng, image, labels, ignore)
        image, labels, ignore = flip_turn(rng, image, labels, ignore)
        if self.sigma:
            image = stain_jitter(image, rng, self.sigma)
        if self.many_labs:
            image = other_lab(image, rng)
        return image, labels, ignore
