"""MoNuSeg and MoNuSAC as they are downloaded: images beside Aperio's XML files of outlines.

root/Tissue Images/<id>.tif    root/Annotations/<id>.xml                        MoNuSeg, the training part alone
root/MoNuSeg 2018 Training Data/{Tissue Images,Annotations}/...                 both parts of MoNuSeg
root/MoNuSegTestData/<id>.tif and .xml
root/MoNuSAC_images_and_annotations/<patient>/<id>.tif, .svs and .xml           MoNuSAC, a layer for each class
root/MoNuSAC Testing Data and Annotations/<patient>/...
root/MoNuSAC_testing_ambiguous_regions/<patient>/<id>/Ambiguous/*.tif           optional
"""

import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.draw
import tifffile

from cyclic.datasets.dataset import NucleiDataset, check_shape
from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, by_id, is_litter
from cyclic.images import as_rgb
from cyclic.label_maps import read_mask

IMAGES, ANNOTATIONS = "Tissue Images", "Annotations"
MONUSEG_PARTS = {"MoNuSeg 2018 Training Data": "train", "MoNuSegTestData": "test"}
MONUSAC_PARTS = {"MoNuSAC_images_and_annotations": "train", "MoNuSAC Testing Data and Annotations": "test"}
PARTS = MONUSEG_PARTS | MONUSAC_PARTS
AMBIGUOUS_PART = "MoNuSAC_testing_ambiguous_regions"
SLIDE = ".svs"
# MoNuSAC's layer of regions in which nobody could tell the nuclei.
AMBIGUOUS = "ambiguous"
# MoNuSAC's layers; the number of a class is its place here.
CLASSES = ("epithelial", "lymphocyte", "macrophage", "neutrophil")


class Outlines(NamedTuple):
    """What an XML file of outlines draws.

    Attributes:
        labels: `[H, W]` int32 label map, 0 = background.
        types: `[H, W]` int32 class map: 0 no class, otherwise the place in `CLASSES`, from 1.
        ambiguous: `[H, W]` bool, where nobody could tell the nuclei.
        unknown: names of layers that are no class.
    """

    labels: np.ndarray
    types: np.ndarray
    ambiguous: np.ndarray
    unknown: tuple[str, ...]


class AperioDataset(NucleiDataset):
    """Images of one split; see `NucleiDataset`. Where both parts of a download are there, they are "train" and "test".

    Args:
        root: the folder of the download, see above.
        split: "train", "val", "test", or None for every image.
    """

    @staticmethod
    def holds(root: Path) -> bool:
        """Whether the folder has this layout."""
        return any((root / folder).is_dir() for folder in (IMAGES, *PARTS))

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        folders = {self.root: "train"} if (self.root / IMAGES).is_dir() else self._folders()
        self._parts = {split: _images_of_part(folder) for folder, split in folders.items()}
        images = by_id((path for part in self._parts.values() for path in part.values()), (*IMAGE_SUFFIXES, SLIDE))
        outlines = {name: _outline_file(path) for name, path in images.items()}
        return images, {name: path for name, path in outlines.items() if path.is_file()}

    def _folders(self) -> dict[Path, str]:
        """Return `{folder: split}` of the parts that are there.

        Raises:
            InputError: parts of both data sets.
        """
        for folder in MONUSAC_PARTS if any((self.root / name).is_dir() for name in MONUSEG_PARTS) else ():
            if (self.root / folder).is_dir():
                raise InputError(
                    f"{self.root / folder}: beside MoNuSeg's parts; give each data set a folder of its own"
                )
        return {self.root / name: split for name, split in PARTS.items() if (self.root / name).is_dir()}

    @property
    def has_classes(self) -> bool:
        """Whether the layers are classes: MoNuSAC's are."""
        return any((self.root / name).is_dir() for name in MONUSAC_PARTS)

    def folder_splits(self) -> dict[str, list[str]]:
        return {split: sorted(part) for split, part in self._parts.items()} if "test" in self._parts else {}

    def image(self, image_id: str) -> np.ndarray:
        path = self.image_path(image_id)
        return _read_slide(path) if path.suffix.lower() == SLIDE else super().image(image_id)

    def read_labels(self, source: Path, shape: tuple[int, int]) -> np.ndarray:
        return read_outlines(source, shape).labels

    def read_types(self, source: Path, shape: tuple[int, int]) -> np.ndarray | None:
        if not self.has_classes:
            return None
        outlines = read_outlines(source, shape)
        if outlines.unknown:
            named = ", ".join(map(repr, outlines.unknown))
            warnings.warn(f"{source}: {named} is no class of MoNuSAC; nuclei of this layer get none", stacklevel=3)
        return outlines.types

    @property
    def class_names(self) -> dict[int, str]:
        return dict(enumerate(CLASSES, start=1)) if self.has_classes else {}

    def ambiguous(self, image_id: str) -> np.ndarray:
        """Return where nobody could tell the nuclei, `[H, W]` bool: the layer of the XML file, and the published masks.

        Raises:
            InputError: as `label_map`.
        """
        path, shape = self.label_path(image_id), self.shape(image_id)
        ambiguous = read_outlines(path, shape).ambiguous
        folder = self.root / AMBIGUOUS_PART / self.image_path(image_id).parent.name / image_id / "Ambiguous"
        for mask_path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not is_litter(mask_path):
                mask = read_mask(mask_path)
                check_shape(mask_path, mask.shape, shape)
                ambiguous = ambiguous | mask
        return ambiguous


def _images_of_part(folder: Path) -> dict[str, Path]:
    """Return `{id: image}` of one part of a download; of an image that is there twice the .tif."""
    if (folder / IMAGES).is_dir():
        found = _images_in(folder / IMAGES)
    else:
        patients = [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_litter(path)]
        found = [path for place in (folder, *patients) for path in _images_in(place)]
    if not found:
        raise InputError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)}), nor in folders of patients")
    return by_id(found, (*IMAGE_SUFFIXES, SLIDE))


def _images_in(folder: Path) -> list[Path]:
    images = by_id(sorted(folder.iterdir()), IMAGE_SUFFIXES)
    slides = by_id(sorted(folder.iterdir()), (SLIDE,))
    return list((slides | images).values())


def _outline_file(image: Path) -> Path:
    folder = image.parent.parent / ANNOTATIONS if image.parent.name == IMAGES else image.parent
    return folder / f"{image.stem}.xml"


def _read_slide(path: Path) -> np.ndarray:
    try:
        pixels = tifffile.imread(path)
    except Exception as error:  # each kind of broken file raises another
        raise InputError(f"{path}: not a readable image ({error}); download the file again") from error
    return as_rgb(pixels, str(path))


def read_outlines(path: Path, shape: tuple[int, int]) -> Outlines:
    """Return what an Aperio XML file draws.

    Of two nuclei that overlap the later one has the pixels. Left out are regions of fewer than three corners or
    without a pixel in the image. What Aperio calls a negative region is cut out again.

    Args:
        path: the .xml file.
        shape: (H, W) of its image.

    Raises:
        InputError: no XML, a corner that is no finite number, or no region of many lies in the image.
    """
    try:
        layers = list(ElementTree.parse(path).getroot().iter("Annotation"))
        labels, types = np.zeros((2, *shape), np.int32)
        ambiguous, count, unknown = np.zeros(shape, bool), 0, []
        for layer in layers:
            name = _layer_name(layer)
            if name not in (*CLASSES, AMBIGUOUS):
                unknown.append(name)
            for region in layer.iter("Region"):
                rows, columns = _fill(region, shape)
                if name == AMBIGUOUS:
                    ambiguous[rows, columns] = True
                elif len(rows) and region.get("NegativeROA") == "1":
                    labels[rows, columns] = types[rows, columns] = 0
                elif len(rows):
                    count += 1
                    labels[rows, columns] = count
                    types[rows, columns] = CLASSES.index(name) + 1 if name in CLASSES else 0
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not Aperio's outlines ({error}); download the file again") from error
    regions = sum(1 for layer in layers for _ in layer.iter("Region"))
    if regions > 1 and count == 0 and not ambiguous.any():
        raise InputError(f"{path}: none of its {regions} outlines lies in the image; use files that belong together")
    return Outlines(labels, types, ambiguous, tuple(dict.fromkeys(unknown)))


def _layer_name(layer: ElementTree.Element) -> str:
    """Return the class or "ambiguous" if the layer names one, else the first name that it has, in small letters."""
    names = [str(attribute.get("Name", "")).strip().lower() for attribute in layer.iter("Attribute")]
    return next((name for name in names if name in (*CLASSES, AMBIGUOUS)), next(iter(names), ""))


def _fill(region: ElementTree.Element, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the pixels whose centres lie in a region."""
    corners = np.array([[float(v.attrib["Y"]), float(v.attrib["X"])] for v in region.iter("Vertex") if _has_place(v)])
    if len(corners) < 3:
        return np.zeros(0, int), np.zeros(0, int)
    if not np.isfinite(corners).all():
        raise ValueError("a corner that is not finite")
    # No pixel lies beyond the image, and a corner far out must not cost memory.
    corners = np.clip(corners, -np.array(shape), 2 * np.array(shape))
    return skimage.draw.polygon(corners[:, 0] - 0.5, corners[:, 1] - 0.5, shape)


def _has_place(vertex: ElementTree.Element) -> bool:
    if "X" in vertex.attrib and "Y" in vertex.attrib:
        return True
    raise ValueError("a corner without X and Y")


def unmatched(images: Iterable[Path]) -> list[Path]:
    """Return the .xml files beside these images that belong to none of them, sorted."""
    images = list(images)
    outlines = {_outline_file(image) for image in images}
    folders = {path.parent for path in outlines if path.parent.is_dir()}
    found = {path for folder in folders for path in folder.glob("*.xml") if not is_litter(path)}
    return sorted(found - outlines)
