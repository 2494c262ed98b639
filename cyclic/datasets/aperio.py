"""MoNuSeg and MoNuSAC as they are downloaded: images beside Aperio's XML files of outlines.

root/Tissue Images/<id>.tif    root/Annotations/<id>.xml                        MoNuSeg
root/MoNuSAC_images_and_annotations/<patient>/<id>.tif, .svs and .xml           MoNuSAC, a layer for each class
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import skimage.draw

from cyclic.datasets.dataset import NucleiDataset
from cyclic.errors import InputError
from cyclic.files import IMAGE_SUFFIXES, by_id, image_files, is_litter

IMAGES, ANNOTATIONS = "Tissue Images", "Annotations"
PATIENTS = "MoNuSAC_images_and_annotations"
# MoNuSAC's layer of regions in which nobody could tell the nuclei.
AMBIGUOUS = "ambiguous"


class AperioDataset(NucleiDataset):
    """Images of one split; see `NucleiDataset`.

    Args:
        root: the folder that holds `Tissue Images/` and `Annotations/`, or `MoNuSAC_images_and_annotations/`.
        split: "train", "val", "test", or None for every image.
    """

    @staticmethod
    def holds(root: Path) -> bool:
        """Whether the folder has this layout."""
        return (root / IMAGES).is_dir() or (root / PATIENTS).is_dir()

    def find_files(self) -> tuple[dict[str, Path], dict[str, Path]]:
        if (self.root / IMAGES).is_dir():
            images = image_files(self.root / IMAGES)
            outlines = {name: self.root / ANNOTATIONS / f"{name}.xml" for name in images}
        else:
            images = self._images_of_patients(self.root / PATIENTS)
            outlines = {name: path.with_suffix(".xml") for name, path in images.items()}
        return images, {name: path for name, path in outlines.items() if path.is_file()}

    @staticmethod
    def _images_of_patients(folder: Path) -> dict[str, Path]:
        patients = [path for path in sorted(folder.iterdir()) if path.is_dir() and not is_litter(path)]
        images = by_id((path for patient in patients for path in sorted(patient.iterdir())), IMAGE_SUFFIXES)
        if not images:
            raise InputError(f"{folder}: no images ({', '.join(IMAGE_SUFFIXES)}) in the folders of its patients")
        return images

    def read_labels(self, source: Path, shape: tuple[int, int]) -> np.ndarray:
        return read_outlines(source, shape)


def read_outlines(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return the outlines of an Aperio XML file as a label map, `[H, W]` int32, 0 = background.

    Of two nuclei that overlap the later one has the pixels. Left out are regions of fewer than three corners or
    without a pixel in the image, and the layer "Ambiguous". What Aperio calls a negative region is cut out again.

    Args:
        path: the .xml file.
        shape: (H, W) of its image.

    Raises:
        InputError: no XML, or a corner that is no finite number.
    """
    try:
        layers = ElementTree.parse(path).getroot().iter("Annotation")
        labels, count = np.zeros(shape, np.int32), 0
        for layer in layers:
            names = [str(attribute.get("Name", "")).lower() for attribute in layer.iter("Attribute")]
            if AMBIGUOUS in names:
                continue
            for region in layer.iter("Region"):
                rows, columns = _fill(region, shape)
                if len(rows) and region.get("NegativeROA") == "1":
                    labels[rows, columns] = 0
                elif len(rows):
                    count += 1
                    labels[rows, columns] = count
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not Aperio's outlines ({error}); download the file again") from error
    return labels


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
