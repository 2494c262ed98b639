"""Which tile is asked next: spread over images and staining, or those first that a model is least sure of."""

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np

from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tile_writing import Tile
from cyclic.images import read_shape
from cyclic.stain import hematoxylin_map

# Tiles take turns by how much hematoxylin they carry, in groups that end at these shares of all tiles. Tiles without
# a nucleus are rare in dense tissue and lie among the palest, so the pale groups are small: each has as many turns.
GROUP_ENDS = (0.05, 0.2, 0.5)


def mean_hematoxylin(image: np.ndarray, tiles: Sequence[Tile], size: int) -> np.ndarray:
    """Return the mean of the hematoxylin map in each tile of an image (`[H, W, 3]` uint8), `[N]` float64."""
    total = cv2.integral(hematoxylin_map(image))
    corners = [(total[t.y + size, t.x + size], total[t.y, t.x + size], total[t.y + size, t.x], total[t.y, t.x])
               for t in tiles]  # fmt: skip
    values = np.array(corners).reshape(-1, 4)
    return (values[:, 0] - values[:, 1] - values[:, 2] + values[:, 3]) / size**2


def spread(tiles: Sequence[Tile], hematoxylin: Sequence[float], seed: int) -> list[Tile]:
    """Return tiles in a random order in which groups of staining, and in them the images, take turns.

    Args:
        tiles: the tiles, `N` of them.
        hematoxylin: `[N]`, how much each one carries.
        seed: seed of the order.
    """
    rng = np.random.default_rng(seed)
    rank = np.argsort(np.argsort(hematoxylin, kind="stable"), kind="stable")
    group = np.searchsorted(GROUP_ENDS, rank / max(len(tiles), 1), side="right")
    turns: Counter[tuple[int, str]] = Counter()
    places: Counter[int] = Counter()
    keyed = []
    for index in rng.permutation(len(tiles)):
        of_image = int(group[index]), tiles[index].image_id
        keyed.append((turns[of_image], rng.random(), int(group[index]), index))
        turns[of_image] += 1
    order = []
    for _, _, of_group, index in sorted(keyed):
        order.append((places[of_group], of_group, index))
        places[of_group] += 1
    return [tiles[index] for _, _, index in sorted(order)]


def least_sure_first(tiles: Sequence[Tile], probabilities: np.ndarray) -> list[Tile]:
    """Return tiles by how close a model's probability of nuclei (`[N]` in [0, 1]) is to a half, the closest first."""
    return [tiles[index] for index in np.argsort(np.abs(probabilities - 0.5), kind="stable")]


def overlapping_last(tiles: Sequence[Tile], dataset: NucleiDataset, size: int) -> list[Tile]:
    """Return tiles in the same order, but first those that share no pixel with another of these."""
    taken = {name: np.zeros(read_shape(dataset.image_path(name)), bool) for name in {t.image_id for t in tiles}}
    first: list[Tile] = []
    later: list[Tile] = []
    for tile in tiles:
        area = taken[tile.image_id][tile.y : tile.y + size, tile.x : tile.x + size]
        if area.any():
            later.append(tile)
        else:
            first.append(tile)
            area[:] = True
    return first + later
