"""Labelled tiles as batches for a classifier."""

from collections.abc import Callable

import cv2
import keras
import numpy as np

from cyclic.datasets.augment import flip_turn, mirror_half, shear_zoom
from cyclic.errors import InputError


class TileSequence(keras.utils.PyDataset):
    """Batches (images `[B, H, W, 3]` float32 in 0..255, labels `[B]` int32) for `model.fit` and `model.predict`.

    With `targets`, a batch is (images, {"answer": labels, "evidence": targets `[B, h, w]` int16}).

    Training batches are full and hold all classes equally; each epoch shows every tile at least once, in an order that
    `seed` and the epoch decide. Otherwise tiles come in the order given, unchanged but for `scale`.

    Args:
        tiles: `[N, H, W, 3]` uint8.
        labels: `[N]` integer, 0 or 1; -1 for tiles without an answer, which are a class of their own.
        batch_size: tiles in a batch.
        targets: `[N, H, W]` int8, what is known of the pixels; None: batches have labels alone.
        seed: seed of order and augmentation.
        train: shuffle, balance and augment (flips and quarter turns, see `turns`).
        turns: flip and turn in all eight ways; False mirrors half of the tiles, as the paper does.
        shear: see `shear_zoom`; 0 is off, as for `zoom`.
        zoom: see `shear_zoom`.
        augment: `(image [H, W, 3] uint8, rng) -> image`, e.g. `stain_jitter`.
        scale: enlarge tiles by this factor, 1 or more (cubic).
        stride: stride of the level that `targets` are for, in enlarged pixels: h = H * scale / stride.

    Raises:
        InputError: `train` without tiles of both classes.
    """

    def __init__(
        self,
        tiles: np.ndarray,
        labels: np.ndarray,
        batch_size: int,
        targets: np.ndarray | None = None,
        seed: int = 0,
        train: bool = True,
        turns: bool = True,
        shear: float = 0.0,
        zoom: float = 0.0,
        augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
        scale: float = 1,
        stride: int = 4,
    ):
        super().__init__()
        self.tiles, self.labels, self.targets = tiles, np.asarray(labels, np.int32), targets
        if train and not {0, 1} <= set(self.labels.tolist()):
            raise InputError("tiles: training needs positive (1) and negative (0) tiles; check the tile folder")
        self.batch_size, self.seed, self.train, self.turns = batch_size, seed, train, turns
        self.shear, self.zoom, self.augment, self.scale, self.stride = shear, zoom, augment, scale, stride
        self.epoch = 0
        self.order = self._draw_order()

    def _draw_order(self) -> np.ndarray:
        """Return the epoch's tile indices; in training classes alternate, the smaller ones repeating themselves."""
        if not self.train:
            return np.arange(len(self.tiles))
        rng = np.random.default_rng([self.seed, self.epoch])
        members = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        classes = len(members)
        batches = -(-classes * max(map(len, members)) // self.batch_size)
        count = -(-batches * self.batch_size // classes)  # of each class
        drawn = [np.concatenate([rng.permutation(m) for _ in range(-(-count // len(m)))])[:count] for m in members]
        return np.stack(drawn, axis=1).ravel()[: batches * self.batch_size]

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.epoch += 1
        self.order = self._draw_order()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> tuple:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        # A generator for each batch: worker threads may ask for batches in any order.
        rng = np.random.default_rng([self.seed, self.epoch, index])
        labels = self.labels[chosen]
        if self.targets is None:
            return np.stack([self._prepare(rng, self.tiles[i])[0] for i in chosen]).astype(np.float32), labels
        prepared = [self._prepare(rng, self.tiles[i], self.targets[i].astype(np.int16)) for i in chosen]
        images, targets = (np.stack(part) for part in zip(*prepared, strict=True))
        return images.astype(np.float32), {"answer": labels, "evidence": targets}

    def _prepare(self, rng: np.random.Generator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return a tile as the network takes it and, if given, its targets at the level's stride."""
        if self.train:
            arrays = flip_turn(rng, *arrays) if self.turns else mirror_half(rng, *arrays)
            if self.shear or self.zoom:
                arrays = shear_zoom(rng, self.shear, self.zoom, *arrays)
        tile, *targets = arrays
        if self.train and self.augment is not None:
            tile = self.augment(tile, rng)
        height, width = (round(side * self.scale) for side in tile.shape[:2])
        if self.scale > 1:
            tile = cv2.resize(tile, (width, height), interpolation=cv2.INTER_CUBIC)
        cells = width // self.stride, height // self.stride
        # The middle pixel of each cell: plain INTER_NEAREST takes one at its upper left, and the map would be shifted.
        return tile, *(cv2.resize(each, cells, interpolation=cv2.INTER_NEAREST_EXACT) for each in targets)
