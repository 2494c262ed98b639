"""Augmentation of images and label maps; the only module that touches imgaug.

The fast NumPy/OpenCV functions are what training uses by default. Any imgaug augmenter goes through `augment`.

    iaa = load_imgaug()
    image, labels = augment(image, labels, iaa.Sequential([iaa.Fliplr(0.5), iaa.GaussianBlur((0, 2))]), rng)

`from cyclic.datasets.augment import imgaug` stands for `import imgaug`, which fails on NumPy 2. After either, a plain
`import imgaug` works in the same process.

References: Tellez et al. 2018, "Whole-Slide Mitosis Detection in H&E Breast Histology Using PHH3 as a Reference to
Train Distilled Stain-Invariant Convolutional Networks" (stain jitter).
"""

import sys
import types
from typing import Any

import cv2
import numpy as np

from cyclic.errors import InputError
from cyclic.stain import DENSITY, STAIN_VECTORS
from cyclic.symmetry import transform

# How far apart labs are, see `other_lab`: logarithm of a stain's amount, moves of the stain vectors, light as a
# density, logarithm of gamma, range of JPEG's quality, and how often the last steps are taken.
AMOUNT, HUE, LIGHT, GAMMA = 0.4, 0.05, 0.05, 0.2
JPEG_QUALITY = (40, 95)
SOMETIMES = 0.3


class _EarlierNumPy(types.ModuleType):
    """NumPy with the names that imgaug 0.4 still asks for."""

    complex = complex
    sctypes = {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
    }

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def load_imgaug() -> types.ModuleType:
    """Return `imgaug.augmenters`, made to work on NumPy 2, which imgaug 0.4 predates.

    NumPy itself stays as it is for everybody else: imgaug's modules get a NumPy of their own.

    Raises:
        InputError: imgaug is not installed.
    """
    numpy: Any = np
    lacking = not hasattr(numpy, "sctypes")
    if lacking:
        numpy.sctypes = _EarlierNumPy.sctypes
    try:
        import imgaug.augmenters as iaa
    except ModuleNotFoundError as error:
        raise InputError(f"imgaug cannot be used ({error}); install it: pip install imgaug") from error
    finally:
        if lacking:
            del numpy.sctypes
    _give_imgaug_its_numpy()
    _keep_elastic_in_float32(iaa.ElasticTransformation)
    return iaa


def _give_imgaug_its_numpy() -> None:
    """Exchange the `np` of imgaug's modules, which know NumPy by this name alone."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "imgaug" and getattr(module, "np", None) is np:
            module.np = _EarlierNumPy("numpy")  # type: ignore[attr-defined]


def __getattr__(name: str) -> types.ModuleType:
    """Return imgaug, once it is asked for."""
    if name != "imgaug":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load_imgaug()
    return sys.modules["imgaug"]


def _keep_elastic_in_float32(elastic: Any) -> None:
    """NumPy 2 promotes the shifts of `ElasticTransformation` to float64, which OpenCV refuses; cast them back."""
    if getattr(elastic, "casts_shifts", False):
        return
    original = elastic._map_coordinates.__func__

    def map_coordinates(cls, image, dx, dy, *args, **kwargs):
        return original(cls, image, dx.astype(np.float32), dy.astype(np.float32), *args, **kwargs)

    elastic._map_coordinates, elastic.casts_shifts = classmethod(map_coordinates), True


def augment(
    image: np.ndarray, label_map: np.ndarray, augmenter: object, rng: np.random.Generator | int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply an imgaug augmenter: geometry to image and labels alike, colour, blur and noise to the image only.

    The augmenter's own random state does not matter: `rng` alone decides. Labels are moved with nearest neighbour, so
    ids survive; pixels that come from outside the image are background, whatever the image's own fill mode is.

    Args:
        image: `[H, W, 3]` uint8.
        label_map: `[H, W]` integer, 0 background.
        augmenter: any `imgaug.augmenters.Augmenter`.
        rng: generator or integer seed.

    Returns:
        image: `[H, W, 3]` uint8.
        label_map: `[H, W]`, dtype of the input.

    Raises:
        InputError: imgaug is not installed, `augmenter` is no imgaug augmenter, or it changes the image's size.
    """
    iaa = load_imgaug()
    from imgaug.augmentables.segmaps import SegmentationMapsOnImage

    if not isinstance(augmenter, iaa.Augmenter):
        raise InputError(f"augmentation: {augmenter!r} is no imgaug augmenter; give one, such as iaa.Fliplr(0.5)")
    fixed = augmenter.to_deterministic()
    fixed.seed_(int(np.random.default_rng(rng).integers(2**31)), deterministic_too=True)
    moved = fixed.augment_image(image)
    segmentation = SegmentationMapsOnImage(label_map.astype(np.int32), shape=image.shape)
    labels = fixed.augment_segmentation_maps(segmentation).get_arr().astype(label_map.dtype)
    if moved.shape != image.shape or labels.shape != label_map.shape:
        raise InputError(
            f"augmentation: {augmenter.name} turns {image.shape} into {moved.shape}; keep the size (keep_size=True)"
        )
    return moved, labels


def flip_turn(rng: np.random.Generator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Apply one of the eight symmetries of the square, drawn from `rng`, to all arrays alike.

    Args:
        rng: generator.
        arrays: `[H, W, ...]` each, e.g. an image and its label map.

    Returns:
        A tuple of the moved arrays, contiguous. A quarter turn of an oblong array swaps H and W.
    """
    turns, flip = divmod(int(rng.integers(8)), 2)
    # Turned first and then flipped, which is a flip followed by the opposite turn.
    return tuple(transform(array, -turns if flip else turns, bool(flip)) for array in arrays)


def mirror_half(rng: np.random.Generator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mirror all arrays (`[H, W, ...]` each) left to right, or none, and return them."""
    if rng.random() < 0.5:
        return arrays
    return tuple(np.ascontiguousarray(array[:, ::-1]) for array in arrays)


def stain_jitter(image: np.ndarray, rng: np.random.Generator, sigma: float = 0.05) -> np.ndarray:
    """Vary the amounts of the stains: each HED channel c becomes `a * c + b`, a from U(1 ± sigma), b from U(± sigma).

    Tellez et al. 2018. Both steps are linear in optical density, so together they are one 3 x 3 matrix and an offset.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        rng: generator.
        sigma: strength; 0 leaves the image as it is, 0.05 is light, 0.2 strong.

    Returns:
        `[H, W, 3]` uint8.
    """
    scale = rng.uniform(1 - sigma, 1 + sigma, 3)
    shift = rng.uniform(-sigma, sigma, 3)
    mix = np.linalg.inv(STAIN_VECTORS) @ np.diag(scale) @ STAIN_VECTORS
    # cv2.transform computes M @ [r, g, b, 1] for each pixel, densities are row vectors: hence the transpose.
    affine = np.hstack([mix.T, (shift @ STAIN_VECTORS)[:, None]]).astype(np.float32)
    density = cv2.transform(cv2.LUT(image, DENSITY), affine)
    return cv2.convertScaleAbs(np.maximum(256.0 * cv2.exp(-density) - 1.0, 0.0))


def other_lab(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Show the same tissue as another lab might: other dyes, amounts and light, another scanner's sharpness, JPEG.

    Each stain's colour vector moves and its amount changes by a factor, both at random (as in the random stain matrices
    of Shen et al. 2022, "RandStainNA", but about one reference). Light and exposure follow, then in a part of the
    draws gamma, blur or sharpening, and JPEG compression.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        rng: generator.

    Returns:
        `[H, W, 3]` uint8.
    """
    amount = np.exp(rng.uniform(-AMOUNT, AMOUNT, 3))
    vectors = STAIN_VECTORS + rng.normal(0.0, HUE, (3, 3))
    mix = np.linalg.inv(STAIN_VECTORS) @ np.diag(amount) @ vectors
    light = rng.normal(0.0, LIGHT, 3) + rng.normal(0.0, LIGHT)  # of each colour, and of all
    affine = np.hstack([mix.T, light[:, None]]).astype(np.float32)
    density = cv2.transform(cv2.LUT(image, DENSITY), affine)
    if rng.random() < SOMETIMES:
        density = np.maximum(density, 0.0) ** np.float32(np.exp(rng.uniform(-GAMMA, GAMMA)))
    varied = cv2.convertScaleAbs(np.maximum(256.0 * cv2.exp(-density) - 1.0, 0.0))
    if rng.random() < SOMETIMES:
        soft = cv2.GaussianBlur(varied, (0, 0), rng.uniform(0.5, 1.5))
        # Above 1 the difference to the blurred image is added, which sharpens.
        share = rng.uniform(0.0, 1.5)
        varied = cv2.addWeighted(varied, share, soft, 1.0 - share, 0.0)
    if rng.random() < SOMETIMES:
        quality = int(rng.integers(*JPEG_QUALITY))
        packed = cv2.imencode(".jpg", varied, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        varied = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return varied


def vary_as_paper(rng: np.random.Generator, image: np.ndarray, *labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """Do none, one or two of five things: mirror, turn upside down, quarter turns, brightness, blur.

    They are those of Matterport's nucleus sample, which the paper's program uses: a mirror image and one upside down
    come in half of the cases, brightness is multiplied by 0.8 to 1.5, the blur's standard deviation is up to 5 pixels.

    Args:
        rng: generator.
        image: `[H, H, 3]` uint8.
        *labels: `[H, H]` each, moved alike.

    Returns:
        A tuple of the varied arrays.
    """
    moved = image, *labels
    for step in sorted(rng.choice(5, rng.integers(3), replace=False)):
        if step < 2 and rng.random() < 0.5:
            moved = tuple(np.flip(array, axis=1 - step) for array in moved)
        elif step == 2:
            turns = int(rng.integers(1, 4))
            moved = tuple(np.rot90(array, turns) for array in moved)
        elif step == 3:
            moved = cv2.convertScaleAbs(moved[0], alpha=rng.uniform(0.8, 1.5)), *moved[1:]
        elif step == 4:
            sigma = rng.uniform(0.0, 5.0)
            moved = cv2.GaussianBlur(np.ascontiguousarray(moved[0]), (0, 0), max(sigma, 1e-3)), *moved[1:]
    return tuple(np.ascontiguousarray(array) for array in moved)


def shear_zoom(
    rng: np.random.Generator, shear: float, zoom: float, image: np.ndarray, *labels: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Shear and zoom about the centre, as the paper does to the classifier's tiles; borders are mirrored.

    Args:
        rng: generator.
        shear: x moves by up to this share of y's distance from the centre, to either side.
        zoom: enlarged or shrunk by a factor from U(1 - zoom, 1 + zoom).
        image: `[H, W, 3]` uint8.
        *labels: `[H, W]` int16 each, moved alike by nearest neighbour.

    Returns:
        A tuple of the moved arrays.
    """
    height, width = image.shape[:2]
    factor = rng.uniform(1 - zoom, 1 + zoom)
    slant = rng.uniform(-shear, shear)
    linear = np.array([[factor, slant * factor], [0.0, factor]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.hstack([linear, (centre - linear @ centre)[:, None]])

    def moved(array: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.warpAffine(array, matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)

    return moved(image, cv2.INTER_LINEAR), *(moved(array, cv2.INTER_NEAREST) for array in labels)
