"""Augmentation of images and label maps; the only module that touches imgaug.

The fast NumPy/OpenCV functions are what training uses by default. Any imgaug augmenter goes through `augment`.

    iaa = load_imgaug()
    image, labels = augment(image, labels, iaa.Sequential([iaa.Fliplr(0.5), iaa.GaussianBlur((0, 2))]), rng)

References: Tellez et al. 2018, "Whole-Slide Mitosis Detection in H&E Breast Histology Using PHH3 as a Reference to
Train Distilled Stain-Invariant Convolutional Networks" (stain jitter); Ruifrok and Johnston 2001 (stain vectors).
"""

import types

import cv2
import numpy as np
from scipy import ndimage

from cyclic.errors import InputError

# Hematoxylin, eosin and DAB in optical density (Ruifrok and Johnston 2001), one stain a row, columns R, G, B.
HED_TO_OD = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# Optical density of each 8-bit value: 0 for white (255), 5.5 for black (0).
_OD_OF_BYTE = -np.log((np.arange(256) + 1.0) / 256.0).astype(np.float32)
# Pixels around a nucleus that fading looks at, and how many of them must be tissue to tell its colour.
FADE_MARGIN, MIN_TISSUE = 6, 20


def load_imgaug() -> types.ModuleType:
    """Return `imgaug.augmenters`, made to work on NumPy 2, which imgaug 0.4 predates.

    Raises:
        InputError: imgaug is not installed.
    """
    if not hasattr(np, "sctypes"):
        np.sctypes = {
            "int": [np.int8, np.int16, np.int32, np.int64],
            "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
            "float": [np.float16, np.float32, np.float64],
            "complex": [np.complex64, np.complex128],
            "others": [bool, object, bytes, str, np.void],
        }
    try:
        import imgaug.augmenters as iaa
    except ModuleNotFoundError as error:
        raise InputError(f"imgaug cannot be used ({error}); install it: pip install imgaug") from error
    _keep_elastic_in_float32(iaa.ElasticTransformation)
    return iaa


def _keep_elastic_in_float32(elastic: type) -> None:
    """NumPy 2 promotes the shifts of `ElasticTransformation` to float64, which OpenCV refuses; cast them back."""
    original = elastic._map_coordinates.__func__
    if getattr(original, "casts_shifts", False):
        return

    def map_coordinates(cls, image, dx, dy, *args, **kwargs):
        return original(cls, image, dx.astype(np.float32), dy.astype(np.float32), *args, **kwargs)

    map_coordinates.casts_shifts = True
    elastic._map_coordinates = classmethod(map_coordinates)


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
        A tuple of as many arrays, contiguous. A quarter turn of an oblong array swaps H and W.
    """
    turns, flip = divmod(int(rng.integers(8)), 2)
    moved = (np.rot90(array, turns) for array in arrays)
    return tuple(np.ascontiguousarray(array[:, ::-1] if flip else array) for array in moved)


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
    mix = np.linalg.inv(HED_TO_OD) @ np.diag(scale) @ HED_TO_OD
    # cv2.transform computes M @ [r, g, b, 1] for each pixel, densities are row vectors: hence the transpose.
    affine = np.hstack([mix.T, (shift @ HED_TO_OD)[:, None]]).astype(np.float32)
    density = cv2.transform(cv2.LUT(image, _OD_OF_BYTE), affine)
    return cv2.convertScaleAbs(np.maximum(256.0 * cv2.exp(-density) - 1.0, 0.0))


def fade_nuclei(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Pale some nuclei, as those are that lie out of focus or hold little chromatin.

    A nucleus gives up 0.2 to 0.8 of its contrast to the tissue around it and a third as much of its texture. Stain
    finds the dark nuclei first; so they teach what the pale ones look like.

    Args:
        image: `[H, W, 3]` uint8.
        labels: `[H, W]` integer, 0 background, nuclei from 1 on.
        rng: generator.
        share: of the nuclei that are paled, in [0, 1].

    Returns:
        `[H, W, 3]` uint8. A nucleus with no tissue around it but other nuclei stays as it is.
    """
    faded = image.astype(np.float32)
    chosen = rng.random(int(labels.max(initial=0))) < share
    tissue = cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is not None and chosen[label - 1]:
            around = tuple(slice(max(0, side.start - FADE_MARGIN), side.stop + FADE_MARGIN) for side in box)
            _fade(faded[around], labels[around] == label, tissue[around], rng)
    return np.clip(np.round(faded), 0, 255).astype(np.uint8)


def _fade(crop: np.ndarray, nucleus: np.ndarray, tissue: np.ndarray, rng: np.random.Generator) -> None:
    """Pale the nucleus (`[h, w]` bool) of `crop` (`[h, w, 3]` float32) in place, to the colour of the tissue by it."""
    around = tissue & (cv2.dilate(nucleus.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)
    if around.sum() < MIN_TISSUE:
        return
    mean, colour = crop[nucleus].mean(axis=0), crop[around].mean(axis=0)
    # Blurred, or the outline would give a paled nucleus away.
    part = rng.uniform(0.2, 0.8) * cv2.GaussianBlur(nucleus.astype(np.float32), (0, 0), 1.0)[..., None]
    crop += part * (colour - mean) - part / 3 * (crop - mean)


def shear_zoom(image: np.ndarray, rng: np.random.Generator, shear: float = 0.2, zoom: float = 0.2) -> np.ndarray:
    """Shear and zoom about the centre, as the paper does to the classifier's tiles; borders are mirrored.

    Args:
        image: `[H, W, 3]` uint8.
        rng: generator.
        shear: x moves by up to this share of y's distance from the centre, to either side.
        zoom: enlarged or shrunk by a factor from U(1 - zoom, 1 + zoom).

    Returns:
        `[H, W, 3]` uint8.
    """
    height, width = image.shape[:2]
    factor = rng.uniform(1 - zoom, 1 + zoom)
    slant = rng.uniform(-shear, shear)
    linear = np.array([[factor, slant * factor], [0.0, factor]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.hstack([linear, (centre - linear @ centre)[:, None]])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
