"""Who reads a slide: OpenSlide, tifffile or Pillow."""

from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, TIFF_SUFFIXES, is_litter, is_our_label_map
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
        return _open_dicom(path)
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


def _openslide(path: Path, name: Path | None = None) -> Source:
    require("openslide", path)
    from cyclic.slides.openslide_source import OpenSlideSource

    return OpenSlideSource(path, name)


def _open_dicom(folder: Path) -> Source:
    slides = dicom_slides(folder)
    if not slides:
        raise InputError(f"{folder}: no .dcm files in this folder; give a slide, or a folder of them")
    if len(slides) > 1:
        names = ", ".join(path.name for path in slides)
        raise InputError(f"{folder}: {len(slides)} DICOM slides in one folder ({names}); give each a folder of its own")
    return _openslide(slides[0], folder)


def dicom_files(folder: Path) -> list[Path]:
    """Return the .dcm files in a folder, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".dcm" and not is_litter(path))


def dicom_slides(folder: Path) -> list[Path]:
    """Return the first file of each DICOM slide in a folder; OpenSlide finds the others beside it.

    Every file has to open. OpenSlide passes over those that don't, and the slide would lack a level in silence.

    Raises:
        InputError: one does not open, or OpenSlide is not installed.
    """
    files = dicom_files(folder)
    if not files:
        return []
    require("openslide", folder)
    from cyclic.slides.openslide_source import dicom_series

    first: dict[str, Path] = {}
    for path in files:
        first.setdefault(dicom_series(path), path)
    return [*first.values()]
