"""`Dataset`: the list of classes and images that training and evaluation run over."""

import logging

import numpy as np

from cyclic.images import read_image

logger = logging.getLogger(__name__)


class Dataset:
    """Base class of data sets; one object may join several sources.

    Derive a class, add classes and images in a method of your own, and override `load_mask`:

        class ShapesDataset(Dataset):
            def load_shapes(self, paths):
                self.add_class("shapes", 1, "square")
                for path in paths:
                    self.add_image("shapes", image_id=path.stem, path=path)

            def load_mask(self, image_id):
                ...

        dataset = ShapesDataset()
        dataset.load_shapes(paths)
        dataset.prepare()

    A data set that keeps its instances in label maps defines `load_label_map(image_id)` (`[H, W]` int, 0 background)
    and, where it has regions without labels, `load_ignore(image_id)` (`[H, W]` bool). The data loader then needs no
    stack of masks, and `load_mask` follows from the label map.

    Attributes:
        class_info: one dictionary a class: source, id (the source's), name. Entry 0 is the background.
        image_info: one dictionary an image: id (the source's), source, path and what `add_image` was given.
        num_classes, class_ids, class_names, num_images, sources, source_class_ids: set by `prepare`.
    """

    def __init__(self, class_map=None):
        self._image_ids = np.array([], dtype=np.int64)
        self.image_info: list[dict] = []
        self.class_info: list[dict] = [{"source": "", "id": 0, "name": "BG"}]
        self.source_class_ids: dict[str, list[int]] = {}

    def add_class(self, source: str, class_id, class_name: str) -> None:
        """Add a class of `source`; adding the same class again changes nothing.

        Raises:
            ValueError: the source's name has a dot.
        """
        if "." in source:
            raise ValueError(f"{source!r}: the name of a source must not have a dot")
        if not any(info["source"] == source and info["id"] == class_id for info in self.class_info):
            self.class_info.append({"source": source, "id": class_id, "name": class_name})

    def add_image(self, source: str, image_id, path, **kwargs) -> None:
        """Add an image; `kwargs` are kept in its `image_info`."""
        self.image_info.append({"id": image_id, "source": source, "path": path, **kwargs})

    def image_reference(self, image_id: int) -> str:
        """Return a link to or a description of the image, for debugging; override it."""
        return ""

    def prepare(self, class_map=None) -> None:
        """Number classes and images; call it after the last `add_class` and `add_image`."""
        self.num_classes = len(self.class_info)
        self.class_ids = np.arange(self.num_classes)
        self.class_names = [info["name"].split(",")[0] for info in self.class_info]
        self.num_images = len(self.image_info)
        self._image_ids = np.arange(self.num_images)
        self.class_from_source_map = {f"{info['source']}.{info['id']}": i for i, info in enumerate(self.class_info)}
        self.image_from_source_map = {f"{info['source']}.{info['id']}": i for i, info in enumerate(self.image_info)}
        self.sources = list(dict.fromkeys(info["source"] for info in self.class_info))
        # The background belongs to every source.
        self.source_class_ids = {
            source: [i for i, info in enumerate(self.class_info) if i == 0 or info["source"] == source]
            for source in self.sources
        }

    def map_source_class_id(self, source_class_id: str) -> int:
        """Return the class id of "source.id", e.g. `map_source_class_id("coco.12")`."""
        return self.class_from_source_map[source_class_id]

    def get_source_class_id(self, class_id: int, source: str):
        """Return the id that `source` itself gives the class.

        Raises:
            ValueError: the class is of another source.
        """
        info = self.class_info[class_id]
        if info["source"] != source:
            raise ValueError(f"class {class_id} is of source {info['source']!r}, not {source!r}")
        return info["id"]

    @property
    def image_ids(self) -> np.ndarray:
        """`[num_images]` int: the ids that the methods take."""
        return self._image_ids

    def source_image_link(self, image_id: int):
        """Return the path or address of the image."""
        return self.image_info[image_id]["path"]

    def load_image(self, image_id: int) -> np.ndarray:
        """Return the image, `[H, W, 3]` uint8 RGB.

        Raises:
            InputError: the file is missing or unreadable.
        """
        return read_image(self.image_info[image_id]["path"])

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the instances of an image: masks `[H, W, N]` bool, class ids `[N]` int32.

        Override it, or define `load_label_map`, whose instances are all of class 1.
        """
        if hasattr(self, "load_label_map"):
            labels = self.load_label_map(image_id)
            ids = np.unique(labels[labels > 0])
            return labels[..., None] == ids, np.ones(len(ids), dtype=np.int32)
        logger.warning("The data set defines no load_mask: image %s has no instances.", image_id)
        return np.empty((0, 0, 0), dtype=bool), np.empty(0, dtype=np.int32)
