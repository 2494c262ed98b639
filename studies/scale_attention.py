"""A map of nuclei from no label at all: which pixels tell the magnification at which an image was taken?

The idea is that of Sahasrabudhe et al., Self-Supervised Nuclei Segmentation in Histopathological Images Using
Attention (MICCAI 2020). One network marks a small share of a patch's pixels. Another sees the marked pixels alone, and
has to say how far the patch was reduced. Nuclei are of about one size, so they are what is worth marking. Marks are
asked to be smooth, and to turn with the patch.

Theirs is larger: 13 dilated convolutions of 64 channels, and a ResNet-34 that knew ImageNet. It saw patches of whole
slides, and its marks also had to grow with an enlarged patch. Here both networks are small and begin from scratch, and
patches are those of the training images, as they are and reduced. A reduced patch is sharper too, which the networks
may use instead of the size. `image_level_maps.py` compares the map with others.
"""

from collections.abc import Sequence

import cv2
import keras
import numpy as np
from keras import ops

from cyclic.backbones import build_backbone
from cyclic.datasets.augment import flip_turn, stain_jitter
from cyclic.errors import InputError

# How far a patch may be reduced: 40x becomes 20x and 10x.
REDUCTIONS = (1, 2, 4)
SIDE, BATCH, RATE, JITTER = 96, 16, 1e-3, 0.2
# Of the paper's program: share of the pixels that are marked, and how sharp a mark's border is.
SHARE, STEEPNESS = 0.07, 20.0
MOMENTUM = 0.9
# Dilations of the 3 x 3 convolutions that make the marks: a pixel sees 25.
CHANNELS, DILATIONS = 16, (1, 1, 2, 3, 5)
LOSS_WEIGHTS = {"reduction": 1.0, "roughness": 1.0, "turned": 1.0}
# Grey levels are divided by this, so that they spread over about one.
SPREAD = 64.0


class Marks(keras.layers.Layer):
    """Confidence `[B, H, W, 1]` -> marks in [0, 1]: in training, `SHARE` of the pixels of a usual patch are over 0.5.

    The threshold follows the patches' own quantiles, and stays where it is after training.
    """

    def build(self, input_shape):
        unknown = keras.initializers.Constant(np.nan)
        self.threshold = self.add_weight(name="threshold", shape=(), initializer=unknown, trainable=False)

    def call(self, confidence, training=False):
        if training:
            flat = ops.reshape(ops.stop_gradient(confidence), (ops.shape(confidence)[0], -1))
            wanted = ops.mean(ops.quantile(flat, 1 - SHARE, axis=1))
            before = ops.where(ops.isnan(self.threshold), wanted, self.threshold)
            self.threshold.assign(MOMENTUM * before + (1 - MOMENTUM) * wanted)
        return ops.sigmoid(STEEPNESS * (confidence - self.threshold))


class Patches(keras.utils.PyDataset):
    """Batches of patches `[B, side, side, 3]` float32, and by how many steps of `REDUCTIONS` each was reduced.

    Args:
        images: `[H, W, 3]` uint8 each; sides of at least twice `side`, so that there is something to tell.
        steps: number of batches.
        side, seed: of the patches, and of every choice.
    """

    def __init__(self, images: Sequence[np.ndarray], steps: int, side: int = SIDE, seed: int = 0):
        super().__init__()
        self.images, self.steps, self.side, self.seed = images, steps, side, seed
        smallest = min(min(image.shape[:2]) for image in images)
        self.reductions = [factor for factor in REDUCTIONS if factor * side <= smallest]
        if len(self.reductions) < 2:
            raise InputError(f"an image of {smallest} pixels: reduced patches need twice {side}; take larger images")

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, index])
        levels = rng.integers(len(self.reductions), size=BATCH)
        patches = np.stack([self._patch(rng, self.reductions[level]) for level in levels])
        nothing = np.zeros(BATCH, np.float32)
        return patches, {"reduction": levels.astype(np.int32), "roughness": nothing, "turned": nothing}

    def _patch(self, rng: np.random.Generator, factor: int) -> np.ndarray:
        image, size = self.images[rng.integers(len(self.images))], factor * self.side
        y, x = (rng.integers(side - size + 1) for side in image.shape[:2])
        reduced = cv2.resize(image[y : y + size, x : x + size], (self.side, self.side), interpolation=cv2.INTER_AREA)
        (turned,) = flip_turn(rng, reduced)
        return stain_jitter(turned, rng, JITTER).astype(np.float32)


def build_attention(mean_pixel: Sequence[float]) -> keras.Model:
    """Return the network `[B, H, W, 3]` float32 in [0, 255] -> marks `[B, H, W]`, of images of any size."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / SPREAD, [-value / SPREAD for value in mean_pixel])(image)
    for number, dilation in enumerate(DILATIONS):
        convolution = keras.layers.Conv2D(
            CHANNELS, 3, padding="same", dilation_rate=dilation, use_bias=False, name=f"conv_{number}"
        )
        x = keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"norm_{number}")(convolution(x))
        x = keras.layers.Activation("relu")(x)
    confidence = keras.layers.Conv2D(1, 1, name="confidence", dtype="float32")(x)
    return keras.Model(image, Marks(name="marks", dtype="float32")(confidence)[..., 0], name="attention")


def build_training(attention: keras.Model, mean_pixel: Sequence[float]) -> keras.Model:
    """Return the compiled network that tells a patch's reduction from what `attention` marks of it."""
    patch = keras.Input((None, None, 3))
    marks, turned = attention(patch), attention(ops.transpose(patch, (0, 2, 1, 3)))
    marked = (patch - np.array(mean_pixel, np.float32)) / SPREAD * marks[..., None]
    pyramid = build_backbone("resnet18", "group")(marked)
    features = keras.layers.GlobalAveragePooling2D()(pyramid[-1])
    steps = marks[:, 1:] - marks[:, :-1], marks[:, :, 1:] - marks[:, :, :-1]
    down, right = (ops.mean(ops.abs(step), (1, 2)) for step in steps)
    outputs = {
        "reduction": keras.layers.Dense(len(REDUCTIONS), dtype="float32")(features),
        "roughness": down + right,
        "turned": ops.mean((ops.transpose(turned, (0, 2, 1)) - marks) ** 2, (1, 2)),
    }
    network = keras.Model(patch, outputs)
    losses = {name: lambda _, value: ops.mean(value) for name in outputs}
    losses["reduction"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(RATE), losses, loss_weights=LOSS_WEIGHTS)
    return network


def train_attention(patches: Patches, mean_pixel: Sequence[float], callbacks=()) -> keras.Model:
    """Return the network of marks, trained on all batches of `patches` once."""
    keras.utils.set_random_seed(patches.seed)
    attention = build_attention(mean_pixel)
    build_training(attention, mean_pixel).fit(patches, shuffle=False, verbose=0, callbacks=list(callbacks))
    return attention


def attention_map(attention: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return the marks `[H, W]` float32 in [0, 1] of an image `[H, W, 3]` uint8."""
    return np.asarray(attention.predict_on_batch(image[None].astype(np.float32))[0], np.float32)
