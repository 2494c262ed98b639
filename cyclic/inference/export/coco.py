"""COCO annotations with compressed RLE."""

from pathlib import Path

import numpy as np
import pycocotools.mask

from cyclic.files import MARK, write_json
from cyclic.inference.export.measure import nuclei


class CocoFile:
    """Collects the nuclei of many images for one COCO file; label maps are not kept.

    >>> coco = CocoFile()
    >>> coco.add("image.png", np.array([[0, 1]]), np.array([0.9]))
    >>> coco.annotations[0]["bbox"]
    [1, 0, 1, 1]
    """

    def __init__(self) -> None:
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def add(self, name: str, labels: np.ndarray, scores: np.ndarray) -> None:
        """Add a compressed RLE, box, area and score for each nucleus of an image.

        Args:
            name: file name of the image.
            labels, scores: see `cyclic.inference.export`.

        Raises:
            ValueError: fewer scores than labels.
        """
        image_id = len(self.images) + 1
        height, width = labels.shape
        self.images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for label, rows, columns in nuclei(labels, scores):
            rle = _rle(labels[:, columns] == label, columns.start, width)
            annotation = {
                "id": len(self.annotations) + 1,
                "image_id": image_id,
                "category_id": 1,
                "segmentation": {"size": [height, width], "counts": rle["counts"].decode("ascii")},
                "bbox": [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start],
                "area": int(pycocotools.mask.area(rle)),
                "iscrowd": 0,
                "score": round(float(scores[label - 1]), 6),
            }
            self.annotations.append(annotation)

    def write_results(self, path: str | Path) -> None:
        """Write the nuclei as a list of results, as `COCO.loadRes` takes it.

        Results have no box: with boxes, loadRes takes the boxes' areas for those of the masks, and the classes of
        size change.

        Raises:
            InputError: the file cannot be written.
        """
        keys = ("image_id", "category_id", "segmentation", "score")
        write_json(path, [{key: each[key] for key in keys} for each in self.annotations], compact=True)

    def write(self, path: str | Path) -> None:
        """Write what was added as a .json file.

        Raises:
            InputError: the file cannot be written.
        """
        categories = [{"id": 1, "name": "nucleus", "supercategory": "cell"}]
        content = {"info": {"description": MARK}, "images": self.images, "annotations": self.annotations}
        write_json(path, content | {"categories": categories}, compact=True)


def export_coco(path: str | Path, predictions: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write `{file name: (labels, scores)}` as one COCO file; see `CocoFile` for many images.

    Raises:
        ValueError: fewer scores than labels.
        InputError: the file cannot be written.
    """
    coco = CocoFile()
    for name, (labels, scores) in predictions.items():
        coco.add(name, labels, scores)
    coco.write(path)


def _rle(strip: np.ndarray, left: int, width: int) -> dict:
    """Compressed RLE of a mask whose columns from `left` on are `strip` (`[H, w]` bool, not empty).

    RLE runs down the columns, so the columns beside the strip only lengthen its first and last run.
    """
    height = len(strip)
    flat = strip.ravel(order="F")
    changes = left * height + 1 + np.flatnonzero(flat[1:] != flat[:-1])
    if flat[0]:
        changes = np.concatenate([[left * height], changes])
    if flat[-1]:
        changes = np.append(changes, left * height + flat.size)
    if changes[-1] < width * height:  # an empty last run is not written
        changes = np.append(changes, width * height)
    counts = np.diff(changes, prepend=0)
    return pycocotools.mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
