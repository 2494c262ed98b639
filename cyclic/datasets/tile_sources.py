"""What `cyclic tiles` reads: a folder of images with a folder of label maps, or a folder of tiles."""

from pathlib import Path

import numpy as np

from cyclic.datasets.tile_folder import CLASSES, load_tiles, read_tiles
from cyclic.datasets.tile_grid import UNSORTED
from cyclic.datasets.tile_writing import TileCounts, count_files
from cyclic.errors import InputError
from cyclic.files import image_files, label_files
from cyclic.images import read_image
from cyclic.label_maps import read_label_map


class ImageLabelPairs:
    """Images and label maps of the same ids, read one at a time; what `cut_tiles` takes.

    Args:
        images: folder of images.
        labels: folder of label maps; it may hold more of them than there are images.

    Attributes:
        ids: image ids, sorted.

    Raises:
        InputError: a folder is missing or empty, or an image has no label map.
    """

    def __init__(self, images: str | Path, labels: str | Path):
        self._images, self._labels = image_files(images), label_files(labels)
        self.ids = list(self._images)
        for name, path in self._images.items():
            if name not in self._labels:
                raise InputError(f"{path}: no label map in {labels}; add {name}.tif there or take the image away")

    def image(self, image_id: str) -> np.ndarray:
        """Return the image, `[H, W, 3]` uint8 RGB. Raises InputError for an unreadable file."""
        return read_image(self._images[image_id])

    def label_map(self, image_id: str) -> np.ndarray:
        """Return the GROUND-TRUTH INSTANCES, `[H, W]` int32; only tile cutting may call it, for yes or no.

        Raises:
            InputError: an unreadable file, or a size other than the image's.
        """
        path, labels = self._labels[image_id], read_label_map(self._labels[image_id])
        shape = self.image(image_id).shape[:2]
        if labels.shape != shape:
            raise InputError(f"{path}: shape {labels.shape}, its image has {shape}; use files that belong together")
        return labels


def check_tiles(folder: str | Path) -> TileCounts:
    """Count the tiles in `folder/positive` and `folder/negative`, and read each of them; count those in `unsorted` too.

    Raises:
        InputError: no tiles of one class, an unreadable tile, or tiles of different sizes.
    """
    folder = Path(folder)
    unsorted = count_files(folder, [UNSORTED])[UNSORTED]
    if not any((folder / name).is_dir() for name in CLASSES):
        cure = "give --out to cut tiles from these images, with --labels to sort them by label maps"
        if unsorted:
            cure = f"move the {unsorted} tiles of {UNSORTED}/ into two folders of these names"
        raise InputError(f"{folder}: no positive/ and negative/ in it; {cure}")
    tiles = load_tiles(folder)
    read_tiles(tiles.paths)
    positive = int(tiles.labels.sum())
    return TileCounts(positive, len(tiles.labels) - positive, unsorted=unsorted)
