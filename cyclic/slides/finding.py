"""Which files are slides, and what they are called; no Keras, whose start takes seconds."""

from pathlib import Path

import tifffile

from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, TIFF_SUFFIXES, is_litter, is_our_label_map
from cyclic.images import read_shape
from cyclic.slides.opening import OPENSLIDE_SUFFIXES, SUFFIXES, dicom_files, dicom_slides

# An image of more pixels than this is a slide: memory should not hold it with its label map.
LARGE = 8192 * 8192


def is_slide(path: Path) -> bool:
    """Return whether a file or folder is a slide: of a scanner, a pyramid, DICOM, or very large."""
    if path.is_dir():
        return bool(dicom_files(path))
    suffix = path.suffix.lower()
    if suffix in OPENSLIDE_SUFFIXES:
        return True
    if suffix not in IMAGE_SUFFIXES or is_our_label_map(path):
        return False
    try:
        if suffix in TIFF_SUFFIXES:
            with tifffile.TiffFile(path) as tiff:
                return len(tiff.series[0].levels) > 1 or tiff.series[0].size > 3 * LARGE
        height, width = read_shape(path)
    except Exception:  # broken: whoever reads its pixels says what is wrong
        return False
    return height * width > LARGE


def holds_slides(path: Path) -> bool:
    """Return whether a file or folder is a slide, or a folder with one in it."""
    return is_slide(path) or (path.is_dir() and any(is_slide(each) for each in path.iterdir()))


def find_slides(path: str | Path) -> dict[str, Path]:
    """Return `{name: path}` of a slide, or of the slides and images in a folder, sorted.

    A folder with the files of one DICOM slide alone is that slide. Of several it holds the first file of each.

    Raises:
        InputError: there is none, two have one name, or a .dcm file in the folder cannot be opened.
    """
    path = Path(path)
    if not path.is_dir():
        return {name_of(path): path}
    dicom, parts = dicom_slides(path), _parts_of_vms(path)
    found: dict[str, Path] = {}
    for each in sorted(path.iterdir()):
        if is_litter(each) or is_our_label_map(each) or each.name in parts:
            continue
        if each.suffix.lower() == ".dcm" and each not in dicom:
            continue
        if is_slide(each) or (each.is_file() and each.suffix.lower() in SUFFIXES):
            if name_of(each) in found:
                raise InputError(f"{each}: same name as {found[name_of(each)]}; keep one slide of each name")
            found[name_of(each)] = each
    if len(dicom) == len(found) == 1:
        return {name_of(path): path}
    if not found:
        raise InputError(f"{path}: no slides ({', '.join(SUFFIXES)}) in this folder")
    return found


def _parts_of_vms(folder: Path) -> set[str]:
    """Return the names of the JPEGs that Hamamatsu's .vms slides in a folder consist of."""
    texts = [path.read_text(errors="replace") for path in folder.glob("*.vms") if path.is_file()]
    return {line.partition("=")[2].strip() for text in texts for line in text.splitlines()}


def name_of(path: Path) -> str:
    """Return what the results of a slide are called: its file name without suffix.

    >>> name_of(Path("slides/a.ome.tif")), name_of(Path("slides/b.1.svs"))
    ('a', 'b.1')
    """
    return path.name if path.is_dir() else path.stem.removesuffix(".ome")
