"""Evaluate predicted label maps against true ones, image by image and on average."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cyclic.errors import InputError
from cyclic.evaluation.ambiguous import outside
from cyclic.evaluation.baseline import no_label_baseline
from cyclic.evaluation.classes import evaluate_classes, multi_class_pq
from cyclic.evaluation.coco_ap import coco_average_precision
from cyclic.evaluation.empty_tissue import EMPTY_MM2, FALSE_PER_MM2, USUAL_MPP, false_per_mm2
from cyclic.evaluation.matching import Overlaps, contingency
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.paper_metrics import MaskCounts, count_masks, paper_scores, pooled_paper_scores
from cyclic.evaluation.sources import Nuclei, Source, first_few, open_source
from cyclic.evaluation.statistics import bootstrap_interval
from cyclic.evaluation.type_scores import Pairing, class_f, detection_scores, pair_by_centroid
from cyclic.files import image_files
from cyclic.images import read_image
from cyclic.label_maps import is_foreground


def evaluate_folders(
    pred_dir: str | Path,
    gt_dir: str | Path,
    iou_threshold: float = 0.5,
    seed: int = 0,
    mpp: float = USUAL_MPP,
    paper: bool = False,
    ambiguous: str | Path | None = None,
) -> dict[str, Any]:
    """Return the metrics of each image and their mean.

    Images are paired by id (the name without its suffix). Where every prediction has a score (see `open_source`), there
    is average precision. Where both sides have classes, each class is scored as well.

    Args:
        pred_dir: folder of predicted label maps, or a COCO .json file.
        gt_dir: folder of true label maps, or a COCO .json file.
        iou_threshold: nuclei match over this IoU, in [0, 1).
        seed: seed of the bootstrap.
        mpp: micrometres per pixel of all images, over 0; `false_per_mm2` and the pairing by centroids need it.
        paper: also the scores of `paper_metrics`.
        ambiguous: folder of masks of places where predictions do not count, see `outside`.

    Returns:
        `{"images": {id: {metric: value}}, "mean": {metric: value}, "interval": {metric: [low, high]}}`. The interval is
        a 95 % bootstrap interval of the mean. A value is None where it is not defined; a mean is over the others. That
        of `false_per_mm2` is all false nuclei over all empty tissue.

        `"mpp"` is the resolution that was taken. `"pooled"` holds figures of all images together: with scores
        `coco_ap50` and `coco_map`, with classes `f_d` and `type_accuracy`, with `paper` those of `pooled_paper_scores`.
        With classes also the metric `mpq` and `"classes": {class: {"images", "mean", "interval", "f_c"}}`, each over
        the images that hold the class on either side; `f_c` is of all images together.

    Raises:
        InputError: a folder or file cannot be read, the ids of the two sides differ, a pair differs in shape, or
            `iou_threshold` or `mpp` is out of range.
    """
    return evaluate_sources(open_source(pred_dir), open_source(gt_dir), iou_threshold, seed, mpp, paper, ambiguous)


def evaluate_baseline(
    images_dir: str | Path,
    gt_dir: str | Path,
    iou_threshold: float = 0.5,
    seed: int = 0,
    mpp: float = USUAL_MPP,
    paper: bool = False,
    ambiguous: str | Path | None = None,
) -> dict[str, Any]:
    """Return what `evaluate_folders` does, for the predictions of `no_label_baseline`.

    Raises:
        InputError: as there, or an image is missing.
    """
    images, gt = image_files(images_dir), open_source(gt_dir)
    missing = [name for name in gt.readers if name not in images]
    if missing:
        raise InputError(
            f"{images_dir}: no image for {first_few(missing)}; the baseline needs the image of each label map"
        )
    readers = {name: partial(_segment_without_labels, images[name]) for name in gt.readers}
    return evaluate_sources(Source(Path(images_dir), readers), gt, iou_threshold, seed, mpp, paper, ambiguous)


def _segment_without_labels(path: Path) -> Nuclei:
    return Nuclei(no_label_baseline(read_image(path)), str(path))


def evaluate_sources(
    pred: Source,
    gt: Source,
    iou_threshold: float = 0.5,
    seed: int = 0,
    mpp: float = USUAL_MPP,
    paper: bool = False,
    ambiguous: str | Path | None = None,
) -> dict[str, Any]:
    """Return what `evaluate_folders` does, for label maps from anywhere."""
    if not 0 <= iou_threshold < 1:
        raise InputError(f"IoU threshold {iou_threshold}: must be at least 0 and below 1")
    if not 1e-6 <= mpp <= 1e6:  # beyond, areas are no numbers any more
        raise InputError(f"mpp {mpp}: give the micrometres per pixel of the images, such as 0.25")
    _require_same_ids(pred, gt)
    if ambiguous is not None:
        pred = outside(pred, ambiguous)
    images: dict[str, dict] = {}
    classes: dict[str, dict[int, dict]] = {}
    ranked: list[tuple[Overlaps, np.ndarray]] = []
    pairings: list[Pairing] = []
    counts: list[MaskCounts] = []
    masks: list[str] = []
    for name, read_true in gt.readers.items():
        true, predicted = read_true(), pred.readers[name]()
        require_same_shape(true, predicted)
        masks += [nuclei.origin for nuclei in (true, predicted) if is_foreground(nuclei.labels)]
        pair, confidence = (true.labels, predicted.labels), predicted.confidence
        overlaps = contingency(*pair)
        images[name] = evaluate_pair(*pair, confidence, iou_threshold, overlaps) | false_per_mm2(*pair, mpp)
        if confidence is not None:
            ranked.append((overlaps, confidence))
        if true.classes is not None and predicted.classes is not None:
            class_maps = (true.classes, predicted.classes)
            classes[name] = evaluate_classes(*pair, *class_maps, confidence, iou_threshold, overlaps)
            pairings.append(pair_by_centroid(*pair, *class_maps, mpp))
        if paper:
            images[name] |= paper_scores(*pair)
            counts.append(count_masks(*pair))
    if len(classes) == len(images):
        images = {name: scores | {"mpq": multi_class_pq(classes[name])} for name, scores in images.items()}
    if masks:
        warnings.warn(
            f"{first_few(masks)}: one label in many pieces, scored as one nucleus; give each nucleus its own number",
            stacklevel=2,
        )
    evaluation: dict[str, Any] = summarise(images, seed) | {"mpp": mpp}
    pooled: dict[str, float | None] = {}
    pooled |= coco_average_precision(ranked) if len(ranked) == len(images) else {}
    if len(classes) == len(images):
        pooled |= detection_scores(pairings)
        evaluation["classes"] = _summarise_classes(classes, pairings, seed)
    pooled |= pooled_paper_scores(counts) if counts else {}
    return evaluation | ({"pooled": pooled} if pooled else {})


def _summarise_classes(
    classes: dict[str, dict[int, dict]], pairings: Sequence[Pairing], seed: int
) -> dict[str, dict[str, Any]]:
    """Return `{class: summary}` of `{image id: {class: metrics}}`."""
    present = sorted({class_ for of_image in classes.values() for class_ in of_image})
    return {
        str(class_): summarise({name: row[class_] for name, row in classes.items() if class_ in row}, seed)
        | {"f_c": class_f(pairings, class_)}
        for class_ in present
    }


def summarise(images: dict[str, dict], seed: int = 0) -> dict[str, dict]:
    """Return `{"images", "mean", "interval"}` of `{id: {metric: value or None}}`; all images have the same metrics.

    A mean and its interval are over the images where the metric is defined. Both are None where there is no such image.
    Images count alike, but for `false_per_mm2`: there, an image counts as much as it has empty tissue.
    """
    mean, interval = {}, {}
    for metric in next(iter(images.values())):
        rows = [row for row in images.values() if row[metric] is not None]
        values = np.array([row[metric] for row in rows])
        weights = np.array([row[EMPTY_MM2] for row in rows]) if metric == FALSE_PER_MM2 else None
        mean[metric] = float(np.average(values, weights=weights)) if len(values) else None
        interval[metric] = list(bootstrap_interval(values, seed, weights)) if len(values) else None
    return {"images": images, "mean": mean, "interval": interval}


def _require_same_ids(pred: Source, gt: Source) -> None:
    missing = [name for name in gt.readers if name not in pred.readers]
    extra = [name for name in pred.readers if name not in gt.readers]
    problems = []
    if missing:
        cure = f"predict them, or give a folder with the other labels of {gt.path} alone"
        problems.append(f"{pred.path}: no prediction for {first_few(missing)}; {cure}")
    if extra:
        problems.append(f"{gt.path}: no ground truth for {first_few(extra)}; add or remove from {pred.path}")
    if problems:
        raise InputError("; ".join(problems))


def require_same_shape(true: Nuclei, predicted: Nuclei) -> None:
    """Raise `InputError` where the label maps of one image differ in shape."""
    if true.labels.shape != predicted.labels.shape:
        raise InputError(
            f"{predicted.origin}: shape {predicted.labels.shape}, but {true.origin} has {true.labels.shape}; predict "
            "on the unscaled image"
        )
