"""Who reads a slide: OpenSlide, tifffile or Pillow."""

from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, TIFF_SUFFIXES, is_our_label_map
from cyclic.images import read_image
from cyclic.resolution import read_resolution
from cyclic.slides.source import ArraySource, Source, require
from cyclic.slides.tiff_source import TiffSource, needs_openslide

# Formats that OpenSlide alone reads. It reads many a .tif as well.
OPENSLIDE_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm")
SUFFIXES = (*OPENSLIDE_SUFFIXES, *IMAGE_SUFFIXES)


def open_source(path: str | Path) -> Source:
    """Return the slide or image at `path`.

    Args:
        path: a slide, an image of any size, or the folder of a DICOM slide. PNG, JPEG and BMP are read whole; the
            others by regions.

    Raises:
        InputError: the file is missing, broken, in no format known, or a library that reads it is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if path.is_dir():
        path = first_dicom(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: not a slide or image ({', '.join(SUFFIXES)}); convert it or choose another file")
    if suffix in OPENSLIDE_SUFFIXES:
        return _openslide(path)
    if suffix not in TIFF_SUFFIXES:
        return ArraySource(read_image(path), read_resolution(path))
    if is_our_label_map(path):
        raise InputError(f"{path}: a label map that cyclic wrote, not an image; give the image itself")
    return _openslide(path) if needs_openslide(path) else TiffSource(path)


def _openslide(path: Path) -> Source:
    require("openslide", path)
    from cyclic.slides.openslide_source import OpenSlideSource

    return OpenSlideSource(path)


def first_dicom(folder: Path) -> Path:
    """Return a file of the DICOM slide in a folder; OpenSlide finds the others beside it.

    Raises:
        InputError: there is none.
    """
    found = next((path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".dcm"), None)
    if found is None:
        raise InputError(f"{folder}: no .dcm files in this folder; give a slide, or a folder of them")
    return found
