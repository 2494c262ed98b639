"""What a trained classifier says of tiles."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tile_writing import Tile
from cyclic.inference.empty_tiles import predict_tiles
from cyclic.runs.progress import Progress
from cyclic.trained import load_tile_classifier


def probabilities(path: str | Path, dataset: NucleiDataset, tiles: Sequence[Tile], size: int) -> np.ndarray:
    """Return the probability of nuclei in each tile, `[N]` float64 in [0, 1].

    Args:
        path: `best.weights.h5` of a run that learnt from answers.
        dataset: the images.
        tiles: the tiles, `N` of them.
        size: side of a tile in px.

    Raises:
        InputError: the file is missing or holds no tile classifier, or an image is unreadable.
    """
    classifier, config = load_tile_classifier(path)
    of_image = defaultdict(list)
    for index, tile in enumerate(tiles):
        of_image[tile.image_id].append(index)
    found = np.zeros(len(tiles))
    with Progress() as progress:
        for name, indices in progress.track(of_image.items(), "ask the model about images", len(of_image)):
            corners = np.array([(tiles[index].y, tiles[index].x) for index in indices])
            image = dataset.image(name)
            found[indices] = predict_tiles(classifier, image, corners, config.mean_pixel, size, config.scale)
    return found
