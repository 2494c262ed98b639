"""Official downloads of published data sets, written in the project's own layout.

OUT/images/<id>.png  OUT/labels/<id>.tif  OUT/split.json     as `MonusacDataset` reads it
OUT/types/<id>.tif                                           classes of the nuclei, where the download has them
OUT/ambiguous/<id>.png                                       MoNuSAC: white where nobody could tell the nuclei
OUT/tiles/{positive,negative}/                               the paper's tiles, where they lie beside the images
OUT/stain_reference.png                                      with stain normalisation
OUT/dataset.json                                             what was made of what
"""

import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cyclic.datasets.aperio import AperioDataset, unmatched
from cyclic.datasets.ccrcc import CcrccDataset
from cyclic.datasets.class_maps import LABELS, TYPES
from cyclic.datasets.consep import ConsepDataset
from cyclic.datasets.layouts import open_dataset
from cyclic.datasets.monusac import MonusacDataset
from cyclic.datasets.pannuke import PannukeFolds
from cyclic.datasets.split_folders import SplitFoldersDataset
from cyclic.datasets.stain_normaliser import StainNormaliser, is_stained
from cyclic.datasets.tile_folder import CLASSES, load_tiles, tile_name
from cyclic.errors import InputError
from cyclic.files import atomic_folder, same_place, write_image, write_json
from cyclic.images import read_image
from cyclic.label_maps import write_label_map

KINDS = ("monuseg", "monusac", "consep", "ccrcc", "pannuke")
# The folder of masks that the paper's crops have beside one of images.
STAGE = "stage1_train"
# The paper's tiles lie in a folder of this name, in the data set's folder or beside it.
PAPER_TILES = "MyNP"
# Kumar et al. 2017: of 30 images of MoNuSeg's training part, 16 to train on and 14 to test on. Ids of patients.
KUMAR = {
    "train": """
        TCGA-A7-A13E TCGA-A7-A13F TCGA-AR-A1AK TCGA-AR-A1AS TCGA-B0-5711 TCGA-HE-7128 TCGA-HE-7129 TCGA-HE-7130
        TCGA-18-5592 TCGA-38-6178 TCGA-49-4488 TCGA-50-5931 TCGA-G9-6336 TCGA-G9-6348 TCGA-G9-6356 TCGA-G9-6363
    """.split(),  # noqa: SIM905
    "test": """
        TCGA-E2-A1B5 TCGA-E2-A14V TCGA-B0-5710 TCGA-B0-5698 TCGA-21-5784 TCGA-21-5786 TCGA-CH-5767 TCGA-G9-6362
        TCGA-DK-A2I6 TCGA-G2-A2EK TCGA-AY-A8YK TCGA-NH-A8F7 TCGA-KB-A93J TCGA-RD-A8N9
    """.split(),  # noqa: SIM905
}
# The parts of MoNuSeg as they are downloaded.
PUBLISHED = {"train": 37, "test": 14}
SPLIT_NAMES = ("16/14", "37/14")
# A crop of fewer pixels a side shows no nucleus whole.
MIN_CROP = 64
# Images and what is done to them -> the images, one after the other.
Track = Callable[[list[str], str], Iterable[str]]


class Prepared(NamedTuple):
    """How much was written: images (crops count), nuclei in all of them, and the images of each split."""

    images: int
    nuclei: int
    splits: dict[str, int]


def prepare(
    kind: str,
    source: str | Path,
    out: str | Path,
    split: str | None = None,
    crop: int | None = None,
    stain: str | None = None,
    reference: str | Path | None = None,
    track: Track = lambda names, what: names,
) -> Prepared:
    """Write a download in the project's own layout; `out` appears whole or not at all.

    Args:
        kind: one of `KINDS`.
        source: folder of the download.
        out: a folder that is new or empty.
        split: MoNuSeg alone: "16/14" (Kumar et al. 2017; other images are left out) or "37/14" (the two parts). None:
            what the folders say, and no split where they say nothing.
        crop: cut images into squares of this side, named `<id>_<y>_<x>`; the last ones take what is left. None: whole.
        stain: normalise the stain by this method of `stain_normaliser.METHODS`. None: leave it.
        reference: the image whose stain the others get; None: the first to train on.
        track: shows how far it is, as `Progress.track` does.

    Raises:
        InputError: no such download, one that is broken, incomplete or mixed up, or options that do not fit.
    """
    source, out = Path(source), Path(out)
    _check_options(kind, source, out, split, crop, stain, reference)
    data = _open(kind, source)
    chosen = _choose_split(data, split, source)
    ids = [name for names in chosen.values() for name in names] if split else list(data.ids)
    reference_image = _read_reference(data, ids, chosen, reference) if stain else None
    with atomic_folder(out) as folder:
        writer = _Writer(data, folder, crop)
        if stain and reference_image is not None:
            writer.normaliser = StainNormaliser(stain, *reference_image)
            write_image(folder / "stain_reference.png", reference_image[0])
        for name in track(ids, "prepare"):
            writer.write(name)
        writer.finish(out)
        splits = {key: [crop_id for name in names for crop_id in writer.written[name]] for key, names in chosen.items()}
        if splits:
            write_json(folder / "split.json", splits)
        _copy_tiles(source, folder)
        made = {"data_set": kind, "split": split, "crop": crop, "stain": stain, "classes": data.class_names}
        write_json(folder / "dataset.json", made)
    return Prepared(
        sum(map(len, writer.written.values())), writer.nuclei, {key: len(ids) for key, ids in splits.items()}
    )


def _check_options(
    kind: str,
    source: Path,
    out: Path,
    split: str | None,
    crop: int | None,
    stain: str | None,
    reference: str | Path | None,
) -> None:
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the folder of the download")
    if split is not None and kind != "monuseg":
        raise InputError(f"--split {split}: is one of MoNuSeg; {kind} has the splits of its folders")
    if crop is not None and crop < MIN_CROP:
        raise InputError(f"--crop {crop}: too small for whole nuclei; give {MIN_CROP} or more")
    if reference is not None and stain is None:
        raise InputError(f"--reference {reference}: needs --stain macenko or --stain reinhard")
    if same_place(out) == same_place(source) or same_place(out) in same_place(source).parents:
        raise InputError(f"{out}: is or holds the download itself; choose another folder")


def _open(kind: str, source: Path) -> Any:
    """Return the data set; it has `ids`, `splits`, `class_names`, `image`, `label_map` and `type_map`.

    Raises:
        InputError: it is of another kind, or an image has no labels, or labels have no image.
    """
    if kind == "pannuke":
        return PannukeFolds(source)
    found: Any = open_dataset(source / STAGE if (source / STAGE).is_dir() else source)
    fits: dict[str, Callable[[], bool]] = {
        "monuseg": lambda: isinstance(found, AperioDataset | MonusacDataset),
        "monusac": lambda: isinstance(found, AperioDataset | MonusacDataset),
        # Without label files of a known kind the two are alike.
        "consep": lambda: isinstance(found, SplitFoldersDataset) and not isinstance(found, CcrccDataset),
        "ccrcc": lambda: isinstance(found, SplitFoldersDataset) and not isinstance(found, ConsepDataset),
    }
    if not fits[kind]():
        raise InputError(f"{source}: not a download of {kind} but of {_other(found)}; see cyclic prepare --help")
    without = [name for name in found.ids if not found.has_labels(name)]
    if without:
        raise InputError(f"{found.image_path(without[0])}: no labels of this image; download them or remove it")
    if isinstance(found, AperioDataset):
        for path in unmatched(map(found.image_path, found.ids)):
            raise InputError(f"{path}: outlines without their image; download it or remove them")
    return found


def _other(found: object) -> str:
    names = {AperioDataset: "MoNuSeg or MoNuSAC", ConsepDataset: "CoNSeP", CcrccDataset: "ccRCC"}
    return next((name for kind, name in names.items() if isinstance(found, kind)), "another data set")


def _choose_split(data: Any, split: str | None, source: Path) -> dict[str, list[str]]:
    """Return `{split: ids}`, in the order train, val, test.

    Raises:
        InputError: images of a published split are missing.
    """
    if split == "16/14":
        chosen = {
            part: [name for patient in patients for name in data.ids if name.startswith(patient)]
            for part, patients in KUMAR.items()
        }
        missing = [
            patient
            for part, patients in KUMAR.items()
            for patient in patients
            if not any(name.startswith(patient) for name in chosen[part])
        ]
        if missing:
            shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise InputError(f"{source}: the split 16/14 lacks {shown}; download MoNuSeg's training part whole")
        return chosen
    if split == "37/14":
        for part, count in PUBLISHED.items():
            there = len(data.splits.get(part, ()))
            if there != count:
                raise InputError(
                    f"{source}: {there} images in the part to {part}, {count} published; download it whole"
                )
    return {name: list(ids) for name, ids in data.splits.items()}


def _read_reference(
    data: Any, ids: list[str], chosen: dict[str, list[str]], reference: str | Path | None
) -> tuple[np.ndarray, str]:
    """Return the image whose stain the others get, and what messages call it."""
    if reference is not None:
        return read_image(reference), str(reference)
    name = next(iter(chosen.get("train", ids)))
    return data.image(name), f"image {name}"


class _Writer:
    """Writes one image after the other.

    Attributes:
        written: `{id: ids of its crops}`; without crops the id itself.
        nuclei: how many nuclei the label maps hold; one that crops cut apart counts in each.
        normaliser: gives images another stain; None leaves it.
    """

    def __init__(self, data: Any, folder: Path, crop: int | None):
        self.data, self.folder, self.crop = data, folder, crop
        self.normaliser: StainNormaliser | None = None
        self.written: dict[str, list[str]] = {}
        self.nuclei = 0
        self._typed: dict[str, bool] = {}
        self._pale: list[str] = []

    def write(self, name: str) -> None:
        """Write image, labels and what else there is of one image."""
        image, labels, types = self.data.image(name), self.data.label_map(name), self.data.type_map(name)
        maps = {LABELS: labels} | ({} if types is None else {TYPES: types})
        self._typed[name] = types is not None
        ambiguous = self._ambiguous(name)
        if self.normaliser is not None:
            image = self._normalised(name, image)
        self.written[name] = []
        for crop_id, window in _windows(name, labels.shape, self.crop):
            write_image(self.folder / "images" / f"{crop_id}.png", image[window])
            for kind, content in maps.items():
                write_label_map(self.folder / kind / f"{crop_id}.tif", content[window])
            if ambiguous is not None:
                write_image(self.folder / "ambiguous" / f"{crop_id}.png", ambiguous[window].astype(np.uint8) * 255)
            self.nuclei += len(np.unique(labels[window][labels[window] > 0]))
            self.written[name].append(crop_id)

    def _ambiguous(self, name: str) -> np.ndarray | None:
        if not isinstance(self.data, AperioDataset):
            return None
        ambiguous = self.data.ambiguous(name)
        return ambiguous if ambiguous.any() else None

    def _normalised(self, name: str, image: np.ndarray) -> np.ndarray:
        assert self.normaliser is not None
        if is_stained(image):
            return self.normaliser.normalise(image)
        self._pale.append(name)
        return image

    def finish(self, out: Path) -> None:
        """Say what was not as usual.

        Raises:
            InputError: some images have classes and others none.
        """
        untyped = [name for name, typed in self._typed.items() if not typed]
        if untyped and len(untyped) < len(self._typed):
            path = self.data.label_path(untyped[0])
            raise InputError(f"{path}: no classes of nuclei, while other files have some; download it again")
        if self._pale:
            warnings.warn(
                f"{out}: {len(self._pale)} images without stained tissue keep their colours, e.g. {self._pale[0]}",
                stacklevel=3,
            )


def _windows(name: str, shape: tuple[int, int], crop: int | None) -> Iterator[tuple[str, tuple[slice, slice]]]:
    """Yield id and place of each crop of an image; without crops the whole image."""
    height, width = shape
    if crop is None:
        yield name, np.s_[:height, :width]
        return
    for rows in _cut(height, crop):
        for columns in _cut(width, crop):
            yield tile_name(name, rows.start, columns.start), (rows, columns)


def _cut(side: int, length: int) -> list[slice]:
    """Return pieces of `length` pixels that cover a side once; the last one takes what is left.

    >>> _cut(520, 250), _cut(100, 250)
    ([slice(0, 250, None), slice(250, 520, None)], [slice(0, 100, None)])
    """
    starts = [length * number for number in range(max(side // length, 1))]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], side], strict=True)]


def _copy_tiles(source: Path, folder: Path) -> None:
    """Copy the paper's tiles, where there are any, into `tiles/`.

    Raises:
        InputError: one of the classes is missing, or a tile is unreadable or of another size than the others.
    """
    # In the paper's own folder they lie beside the data set.
    places = [source, *([source.parent] if (source / STAGE).is_dir() else [])]
    tiles = next((place / PAPER_TILES for place in places if (place / PAPER_TILES).is_dir()), None)
    if tiles is None:
        return
    found, shape = load_tiles(tiles), None
    for path, label in zip(found.paths, found.labels, strict=True):
        tile = read_image(path)
        shape = shape or tile.shape
        if tile.shape != shape:
            raise InputError(f"{path}: {tile.shape[:2]} pixels, other tiles have {shape[:2]}; use tiles of one size")
        target = folder / "tiles" / CLASSES[label] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
