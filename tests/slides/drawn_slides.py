"""Slides of every layout, made of drawn tissue, and a stand-in for the network that takes milliseconds."""

import cv2
import numpy as np
import scipy.ndimage as ndi
import tifffile

from cyclic.config import RunConfig
from cyclic.mrcnn.config import Config
from cyclic.mrcnn.utils import norm_boxes
from cyclic.slides.predictor import Predictor

MPP = 0.25


class BlobFinder:
    """A `MaskRCNN` for dark blobs on white.

    It finds each blob twice, at scores that depend on where the blob lies in the tile, and neighbours as one clump. So
    tiles disagree, and there is much to suppress.
    """

    class config(Config):
        NUM_CLASSES = 2
        MEAN_PIXEL = np.zeros(3)

    def predict_boxes(self, molded, metas):
        detections = np.zeros((len(molded), 400, 6), np.float32)
        for index, image in enumerate(molded):
            y1, x1, y2, x2 = (int(side) for side in metas[index, 7:11])
            dark = image[y1:y2, x1:x2, 0] < 128
            count = 0
            for grown in (0, 3):
                found, _ = ndi.label(ndi.binary_dilation(dark, iterations=grown) if grown else dark)
                for rows, columns in ndi.find_objects(found):
                    for shift in (0, 2):
                        box = np.array([rows.start, columns.start + shift, rows.stop, columns.stop + shift])
                        score = 0.3 + 0.6 * ((7 * rows.start + 13 * columns.start + 5 * shift + grown) % 101) / 101
                        box = np.clip(box, 0, [*dark.shape, *dark.shape])
                        if count < 400 and (box[2:] > box[:2]).all():
                            detections[index, count] = [*norm_boxes(box, image.shape[:2]), 1, score]
                            count += 1
        return detections, None

    def predict_masks(self, detections, pyramid):
        side = np.linspace(-1, 1, 28)
        disc = (side[:, None] ** 2 + side**2 <= 1.05).astype(np.float32)
        return [np.repeat(disc[None], len(rows), axis=0) for rows in detections]


def fake_predictor(tile=96, overlap=24, batch=2, mpp=MPP, **detection):
    """A `Predictor` whose network is a `BlobFinder`."""
    settings = {"tile": tile, "overlap": overlap, "batch": batch, "views": 1, **detection}
    return Predictor(BlobFinder(), RunConfig(scale=1, mpp=mpp, detection=settings))


def load_fake(*_):
    """What `Predictor.load` is in tests; other processes import it."""
    return fake_predictor()


def draw_blobs(height, width, seed=0, per_pixel=1 / 500, radius=(4, 12)):
    """White image `[H, W, 3]` with dark ellipses all over, many of which touch."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 245, np.uint8)
    for _ in range(int(height * width * per_pixel)):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = tuple(int(side) for side in rng.integers(*radius, 2))
        cv2.ellipse(image, centre, axes, int(rng.integers(0, 180)), 0, 360, (90, 40, 120), -1)
    return image


def write_svs(path, image, mpp: float | None = MPP, levels=3, **options):
    """Write an image as Aperio's scanners do: tiles, a thumbnail as the second page, each level a quarter."""
    height, width = image.shape[:2]
    text = f"Aperio Image Library v12.0.0\n{width}x{height} (256x256) JPEG/RGB Q=70|AppMag = 40"
    text += f"|MPP = {mpp}" if mpp is not None else ""
    options = {"photometric": "rgb", "metadata": None, "compression": "jpeg", **options}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, tile=(256, 256), description=text, **options)
        thumbnail = np.ascontiguousarray(image[::8, ::8])
        tiff.write(thumbnail, description="Aperio Image Library v12.0.0\n", rowsperstrip=16, **options)
        for level in range(1, levels):
            step = 4**level
            tiff.write(shrink(image, step), tile=(256, 256), description=text, **options)


def write_pyramid(path, image, mpp: float | None = MPP, levels=3, **options):
    """Write a generic pyramidal TIFF: a page a level, and pixels per centimetre."""
    density = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    options = {"photometric": "rgb", "metadata": None, "tile": (256, 256), **density, **options}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            tiff.write(shrink(image, 2**level), subfiletype=int(level > 0), **options)


def write_ome(path, image, mpp: float | None = MPP, levels=3, **options):
    """Write an OME-TIFF with its coarser levels in sub-IFDs."""
    size = {f"PhysicalSize{axis}": mpp for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    options = {"photometric": "rgb", "tile": (256, 256), **options}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tiff:
        tiff.write(image, subifds=levels - 1, metadata={"axes": "YXS", **(size if mpp else {})}, **options)
        for level in range(1, levels):
            tiff.write(shrink(image, 2**level), subfiletype=1, metadata=None, **options)


def shrink(image, step):
    """The mean of `step` x `step` pixels."""
    size = image.shape[1] // step, image.shape[0] // step
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
