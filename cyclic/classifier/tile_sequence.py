"""Labelled tiles as batches for a classifier."""

from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np

from cyclic.datasets.augment import flip_turn, shear_zoom
from cyclic.datasets.tile_folder import read_tiles
from cyclic.errors import InputError


class TileSequence(keras.utils.PyDataset):
    """Batches (images `[B, H, W, 3]` float32 in 0..255, labels `[B]` int32) for `model.fit` and `model.predict`.

    Training batches are full and hold both classes equally; each epoch shows every tile at least once, in an order that
    `seed` and the epoch decide. Otherwise tiles come in the order given, unchanged but for `scale`.

    Args:
        paths: tile files, all of one size. They are decoded once and kept in memory as uint8.
        labels: `[N]` integer, 0 or 1.
        batch_size: tiles in a batch.
        seed: seed of order and augmentation.
        train: shuffle, balance and augment (flips and quarter turns always).
        shear: see `shear_zoom`; 0 is off, as for `zoom`.
        zoom: see `shear_zoom`.
        augment: `(image [H, W, 3] uint8, rng) -> image`, e.g. `stain_jitter`.
        scale: enlarge tiles by this integer (cubic).

    Raises:
        InputError: no tiles, tiles of different sizes, an unreadable tile, or `train` with one class only.
    """

    def __init__(
        self,
        paths: list[Path],
        labels: np.ndarray,
        batch_size: int,
        seed: int = 0,
        train: bool = True,
        shear: float = 0.0,
        zoom: float = 0.0,
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        scale: int = 1,
    ):
        super().__init__()
        self.labels = np.asarray(labels, np.int32)
        if train and set(np.unique(self.labels)) != {0, 1}:
            raise InputError("tiles: training needs positive (1) and negative (0) tiles; check the tile folder")
        self.tiles = read_tiles(paths)
        self.batch_size, self.seed, self.train = batch_size, seed, train
        self.shear, self.zoom, self.augment, self.scale = shear, zoom, augment, scale
        self.epoch = 0
        self.order = self._draw_order()

    def _draw_order(self) -> np.ndarray:
        """Return the epoch's tile indices; in training classes alternate, the smaller one repeating itself."""
        if not self.train:
            return np.arange(len(self.tiles))
        rng = np.random.default_rng([self.seed, self.epoch])
        members = [np.flatnonzero(self.labels == label) for label in (0, 1)]
        batches = -(-2 * max(map(len, members)) // self.batch_size)
        count = -(-batches * self.batch_size // 2)  # of each class
        drawn = [np.concatenate([rng.permutation(m) for _ in range(-(-count // len(m)))])[:count] for m in members]
        return np.stack(drawn, axis=1).ravel()[: batches * self.batch_size]

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.epoch += 1
        self.order = self._draw_order()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        # A generator for each batch: worker threads may ask for batches in any order.
        rng = np.random.default_rng([self.seed, self.epoch, index])
        images = [self._prepare(self.tiles[i], rng) for i in chosen]
        return np.stack(images).astype(np.float32), self.labels[chosen]

    def _prepare(self, tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.train:
            (tile,) = flip_turn(rng, tile)
            if self.shear or self.zoom:
                tile = shear_zoom(tile, rng, self.shear, self.zoom)
            if self.augment is not None:
                tile = self.augment(tile, rng)
        if self.scale > 1:
            tile = cv2.resize(tile, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_CUBIC)
        return tile
