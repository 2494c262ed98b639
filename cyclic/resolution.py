"""How large a pixel is, in micrometres per pixel (mpp): what a file says of it, and what that means for a model."""

import math
import numbers
from pathlib import Path
from typing import NamedTuple

import tifffile
from PIL import Image
from tifffile.tifffile import svs_description_metadata

from cyclic.errors import InputError
from cyclic.files import open_tiff, require_file

# What a microscope makes. Files that were never near one say 72, 96 or 300 dpi, which is 350 to 85 µm a pixel.
SMALLEST, LARGEST = 0.05, 5.0
# Two resolutions are one if they differ by no more than this share; scanners of one name differ by 2 percent.
SAME = 0.05
# Images are enlarged or shrunk by no more than this for a model.
MOST = 8
MICROMETRES = {"nm": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0}


class Resolution(NamedTuple):
    """What a file says of its pixels.

    Attributes:
        mpp: micrometres per pixel, 0.05 to 5; None where the file does not say.
        ignored: what it says instead, and cannot be meant; "" for nothing.
    """

    mpp: float | None
    ignored: str = ""


def same(first: float, second: float) -> bool:
    """Whether two resolutions differ by 5 percent or less.

    >>> same(0.25, 0.2520), same(0.25, 0.23)
    (True, False)
    """
    return abs(first / second - 1) <= SAME


def check_mpp(mpp: float, name: str) -> float:
    """Return micrometres per pixel that a person gave.

    Raises:
        InputError: no number, not over 0, or not finite; the message begins with `name`.
    """
    if isinstance(mpp, bool) or not isinstance(mpp, numbers.Real) or not 0 < mpp < math.inf:
        raise InputError(f"{name} {mpp}: give the micrometres per pixel, over 0")
    return mpp


def enlargement(mpp: float, model_mpp: float) -> float:
    """Return the factor that brings an image to the resolution of a model; 1 where the two are the same.

    >>> enlargement(0.5, 0.25), enlargement(0.2520, 0.25)
    (2.0, 1.0)

    Args:
        mpp: micrometres per pixel of the image.
        model_mpp: those of the images that the model was trained on.

    Raises:
        InputError: `mpp` is not over 0, or the factor is beyond 8 or 1 / 8.
    """
    factor = check_mpp(mpp, "mpp") / model_mpp
    if not 1 / MOST <= factor <= MOST:
        raise InputError(
            f"mpp {mpp:g}: more than {MOST} times from the model's {model_mpp:g} µm per pixel; state another with "
            "--mpp (mpp=), or take another image"
        )
    return 1.0 if same(mpp, model_mpp) else factor


def read_resolution(path: str | Path) -> Resolution:
    """Return what an image file says of its resolution.

    Of a TIFF that is OME-XML, the description of Aperio or ImageJ, or the resolution tags, in this order. Of other
    files it is the density in their header.

    Raises:
        InputError: the file is missing or no image.
    """
    path = require_file(path)
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with open_tiff(path) as tiff:
                sides = _ome(tiff) or _aperio(tiff) or _imagej(tiff) or _tags(tiff)
        else:
            sides = _density(path)
    except Exception as error:  # each decoder raises its own types for a broken file
        raise InputError(f"{path}: not a readable image ({error}); replace or remove the file") from error
    return Resolution(None) if sides is None else judge(*sides)


Sides = tuple[float, float]


def judge(x: float, y: float) -> Resolution:
    """Return what it means that a file says its pixels have x by y micrometres."""
    if not (0 < x < math.inf and 0 < y < math.inf):
        return Resolution(None, f"{x:g} x {y:g} µm per pixel, which is no size")
    if not same(x, y):
        return Resolution(None, f"{x:.4g} x {y:.4g} µm per pixel, which is not square")
    if not SMALLEST <= x <= LARGEST:
        return Resolution(None, f"{x:.4g} µm per pixel ({25400 / x:.0f} dpi), which no microscope makes")
    return Resolution((x + y) / 2)


def _ome(tiff: tifffile.TiffFile) -> Sides | None:
    if tiff.ome_metadata is None:
        return None
    images = tifffile.xml2dict(tiff.ome_metadata).get("OME", {}).get("Image", {})
    pixels = (images[0] if isinstance(images, list) else images).get("Pixels", {})
    x, y = (_length(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XY")
    return None if x is None or y is None else (x, y)


def _aperio(tiff: tifffile.TiffFile) -> Sides | None:
    description = tiff.pages.first.description
    if not description.startswith("Aperio "):
        return None
    mpp = _length(svs_description_metadata(description).get("MPP"), "µm")
    return None if mpp is None else (mpp, mpp)


def _imagej(tiff: tifffile.TiffFile) -> Sides | None:
    """ImageJ writes pixels per unit into the tags, and the unit into its description."""
    unit = _length(1, (tiff.imagej_metadata or {}).get("unit", ""))
    x, y = tiff.pages.first.get_resolution()
    return None if unit is None or not _has_density(tiff) or not x * y else (unit / x, unit / y)


def _tags(tiff: tifffile.TiffFile) -> Sides | None:
    page = tiff.pages.first
    if not _has_density(tiff) or page.tags.valueof("ResolutionUnit", default=2) == tifffile.RESUNIT.NONE:
        return None
    x, y = page.get_resolution(tifffile.RESUNIT.MICROMETER)
    return (1 / x, 1 / y) if x and y else None


def _has_density(tiff: tifffile.TiffFile) -> bool:
    return all(name in tiff.pages.first.tags for name in ("XResolution", "YResolution"))


def _density(path: Path) -> Sides | None:
    with Image.open(path) as opened:
        x, y = opened.info.get("dpi", (0, 0))
    return (25400 / float(x), 25400 / float(y)) if x and y else None


def _length(value: object, unit: str) -> float | None:
    """Return a length in micrometres; None for what is no number, or in a unit that is none of length."""
    name = str(unit).replace("\\u00B5", "µ").replace("μ", "µ").lower().removesuffix("s")
    if not isinstance(value, int | float) or name not in MICROMETRES:
        return None
    return value * MICROMETRES[name]
