"""Detection in the images of a run, and the next student's pseudo masks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cyclic.cycle.context import Context
from cyclic.cycle.stages import maps
from cyclic.files import read_json, write_json
from cyclic.inference.detect import detect
from cyclic.inference.verdict import choose_nuclei
from cyclic.label_maps import read_label_map, write_label_map
from cyclic.pseudo.masks import PseudoMasks, load_pseudo_masks, save_pseudo_masks
from cyclic.semi.self_training import doubt_unconfirmed, join_detections


def make(context: Context, cycle: int, round_: int) -> None:
    """Detect nuclei in the images; before another student, let those of the training images join its pseudo masks.

    Predictions are what the classifier's verdict leaves of the sure detections. After the last
    round of all, only the val images are detected; where there are none, the training images, for people to look at.
    """
    config, here = context.config, context.round(cycle, round_)
    last = round_ == config.rounds.students
    names = context.shown_ids if last and cycle == config.cycles else list(context.images)
    for name in _detect(context, cycle, round_, names):
        if not last and name in context.train.ids:
            pseudo = load_pseudo_masks(context.cycle(cycle).pseudo(round_), name)
            save_pseudo_masks(
                context.cycle(cycle).pseudo(round_ + 1), name, join(context, pseudo, here.detections, name)
            )


def make_missing(context: Context, cycle: int) -> None:
    """Detect the training images with the cycle's model where it was the last one, before a run got more cycles."""
    folder = context.last_round(cycle).detections
    missing = [name for name in context.train.ids if not _scores(folder, name).is_file()]
    if missing:
        list(_detect(context, cycle, context.config.rounds.students, missing))


def _detect(context: Context, cycle: int, round_: int, names: list[str]) -> Iterator[str]:
    """Write all detections of each image and the nuclei chosen among them, and yield its name."""
    config, here = context.config, context.round(cycle, round_)
    context.models.load(here.weights)
    with_verdict = config.supervision == "image" and config.detection.verdict
    by_map = with_verdict and config.has_local_evidence
    judge = context.models.load_judge(context.cycle(cycle).classifier) if with_verdict and not by_map else None
    for name in context.progress.track(names, f"cycle_{cycle}/round_{round_}/detect"):
        image = context.images[name]
        labels, scores = detect(context.models.detector, image, config.detection, config.scale)
        save_detections(here.detections, name, labels, scores)
        activation = maps.read(context, cycle, name) if by_map else None
        write_label_map(here.prediction(name), choose_nuclei(labels, scores, image, config, judge, activation)[0])
        yield name


def save_detections(folder: Path, name: str, labels: np.ndarray, scores: np.ndarray) -> None:
    """Write all detections, also weak ones: `<name>.tif` and `<name>.json`."""
    write_label_map(folder / f"{name}.tif", labels)
    write_json(_scores(folder, name), {"scores": [float(score) for score in scores]})


def load_detections(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores that `save_detections` wrote."""
    scores = read_json(_scores(folder, name))["scores"]
    return read_label_map(folder / f"{name}.tif"), np.array(scores, np.float32)


def load_teaching(context: Context, folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what `save_detections` wrote of a training image, without faith in what its first map has no evidence for.

    The first classifier knows answers alone, or other images. The later ones have learnt from detections in these very
    images, and confirm every one.
    """
    config, (labels, scores) = context.config, load_detections(folder, name)
    has_evidence = config.has_local_evidence and config.maps.method == "evidence"
    activation = maps.read(context, config.first_cycle, name) if has_evidence else None
    if activation is None:
        return labels, scores
    return doubt_unconfirmed(labels, scores, activation, config.rounds.ignore_score)


def join(context: Context, pseudo: PseudoMasks, folder: Path, name: str) -> PseudoMasks:
    """Return the pseudo masks of a training image with the detections in `folder` that may teach."""
    detected = load_teaching(context, folder, name)
    return join_detections(pseudo, *detected, context.images[name], context.config, context.background.get(name))


def _scores(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
