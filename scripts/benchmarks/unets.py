"""U-Nets of other programs, with random weights: their network alone, in float32 or bfloat16."""

import importlib.util

import numpy as np

from benchmarks.ours import use_precision

FILTERS, DEPTH, RAYS = 32, 3, 32
# The thresholds that `2D_versatile_he` comes with.
LEAST_PROBABILITY, MOST_OVERLAP = 0.692478, 0.3
STARDIST_STRIDE = 2  # of its outputs in the image; its "grid"
UNET_MPP = 0.5


def stardist_network():
    """Return StarDist's network of the architecture of `2D_versatile_he`.

    Its settings: 3 channels, grid (2, 2), 32 rays, a U-Net of depth 3 from 32 filters on, 128 filters after it.
    `[B, H, W, 3]`, sides divisible by 16 -> probabilities `[B, H / 2, W / 2, 1]`, distances `[B, H / 2, W / 2, 32]`.
    """
    import keras

    image = keras.Input((None, None, 3))
    x = keras.layers.MaxPooling2D(STARDIST_STRIDE)(_convolve(image, FILTERS, FILTERS))
    x = _convolve(_unet(x), 128)
    probability = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x)
    return keras.Model(image, [probability, keras.layers.Conv2D(RAYS, 1, dtype="float32")(x)])


def plain_unet():
    """Return a U-Net of three levels: `[B, H, W, 3]`, sides divisible by 8, -> 3 classes `[B, H, W, 3]`.

    The classes are background, nucleus and border.
    """
    import keras

    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax", dtype="float32")(_unet(image)))


def _convolve(x, *filters):
    import keras

    for count in filters:
        x = keras.layers.Conv2D(count, 3, padding="same", activation="relu")(x)
    return x


def _unet(x):
    """Return the features `[B, H, W, FILTERS]` of a U-Net that halves the map `DEPTH` times."""
    import keras

    skips = []
    for level in range(DEPTH):
        x = _convolve(x, *[FILTERS * 2**level] * 2)
        skips.append(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = _convolve(x, FILTERS * 2**DEPTH, FILTERS * 2 ** (DEPTH - 1))
    for level in reversed(range(DEPTH)):
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D(2)(x), skips[level]])
        x = _convolve(x, FILTERS * 2**level, FILTERS * 2 ** max(0, level - 1))
    return x


class StarDist:
    """StarDist's network, and its suppression of overlapping polygons where the package `stardist` is installed.

    The network has random weights. So the suppression gets what a perfect network would say of the nuclei in the label
    maps of `settings["labels"]`.
    """

    def __init__(self, settings: dict):
        use_precision(settings)
        self.network, self.inputs = stardist_network(), [_prepare(image, 16) for image in _images(settings)]
        self.network.jit_compile = False
        self.facts = {"precision": settings["precision"], "parameters": self.network.count_params()}
        installed = importlib.util.find_spec("stardist") is not None
        self.answers = [perfect_answer(np.load(path)) for path in settings["labels"]] if installed else []
        self.facts["suppression"] = "as stardist does it" if installed else "none: stardist is not installed"

    def __call__(self) -> None:
        for batch in self.inputs:
            self.network.predict_on_batch(batch)
        found = [len(suppress(*answer)) for answer in self.answers]
        if found:
            self.facts["nuclei"] = sum(found)


def perfect_answer(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities `[h, w]` and distances `[h, w, RAYS]` of a label map `[H, W]` at StarDist's stride."""
    from stardist import edt_prob, star_dist

    grid = (STARDIST_STRIDE, STARDIST_STRIDE)
    return edt_prob(labels)[::STARDIST_STRIDE, ::STARDIST_STRIDE], star_dist(labels, RAYS, grid=grid)


def suppress(probabilities: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return the centres `[N, 2]` of the polygons that StarDist keeps."""
    from stardist import non_maximum_suppression

    return non_maximum_suppression(
        distances, probabilities, grid=(STARDIST_STRIDE, STARDIST_STRIDE),
        nms_thresh=MOST_OVERLAP, prob_thresh=LEAST_PROBABILITY,
    )[0]  # fmt: skip


class UNet:
    """A U-Net of three levels on the image at `UNET_MPP`; scaling the image counts."""

    def __init__(self, settings: dict):
        use_precision(settings)
        self.network, self.images = plain_unet(), _images(settings)
        self.network.jit_compile = False
        self.factor = settings["mpp"] / UNET_MPP
        self.facts = {"precision": settings["precision"], "parameters": self.network.count_params()}

    def __call__(self) -> None:
        import cv2

        for image in self.images:
            smaller = cv2.resize(image, None, fx=self.factor, fy=self.factor, interpolation=cv2.INTER_AREA)
            self.network.predict_on_batch(_prepare(smaller, 8))


def _images(settings: dict) -> list[np.ndarray]:
    return [np.load(path) for path in settings["images"]]


def _prepare(image: np.ndarray, stride: int) -> np.ndarray:
    """Return an image as a batch `[1, H, W, 3]` float32 in [0, 1], reflected up to sides divisible by `stride`."""
    rows, columns = (-side % stride for side in image.shape[:2])
    return np.pad(image.astype(np.float32) / 255, ((0, rows), (0, columns), (0, 0)), mode="reflect")[None]
