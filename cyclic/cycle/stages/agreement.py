"""What a run can tell of itself without instance labels.

None of it says that the nuclei are right. Answers held out say that the classifier has learnt the question. Maps and
nuclei that no longer change say that more cycles would change little. Outlines that keep their size say that masks do
not grow by learning from themselves.
"""

import numpy as np

from cyclic.cycle.context import Context
from cyclic.cycle.stages import maps
from cyclic.cycle.stages.detections import load_detections
from cyclic.evaluation.matching import median_area_ratio
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.statistics import mean_correlation
from cyclic.inference.detect import drop_unsure
from cyclic.label_maps import read_label_map
from cyclic.runs.directory import read_events
from cyclic.runs.paths import RoundPaths

# Both treat the two label maps alike, so it does not matter which one is called true.
SYMMETRIC = ("f1", "dice")


def score_cycle(context: Context, cycle: int) -> None:
    """Add the rows of a cycle: the size of each round's outlines, and without instance labels what else can be told.

    There is no row for what has nothing to be compared with.
    """
    rows = _sizes(context, cycle)
    if not context.scored_ids:
        rows += _changes(context, cycle)
    context.run.add_rows({"cycle": cycle, **row} for row in rows)


def _sizes(context: Context, cycle: int) -> list[dict]:
    """Return a row a round: how large its detections are beside the run's first pseudo masks of the same nuclei.

    Later pseudo masks hold detections themselves, so a drift would hide in them. The images are those that every round
    detects, the last one too.
    """
    split = "val" if context.val_ids else "train"
    rounds = range(context.config.rounds.students + 1)
    ratios = {round_: _size_ratio(context, context.round(cycle, round_)) for round_ in rounds}
    found = {round_: ratio for round_, ratio in ratios.items() if ratio is not None}
    return [{"source": "sizes", "round": r, "split": split, "size_ratio": ratio} for r, ratio in found.items()]


def _size_ratio(context: Context, now: RoundPaths) -> float | None:
    """Return the median of detected over first area; None where nothing matches.

    The upper bound has no pseudo masks of val images, and an earlier version's run may have lost its detections.
    """
    first = context.cycle(1).pseudo() / "labels"
    files = {name: (first / f"{name}.tif", now.detections / f"{name}.tif") for name in context.shown_ids}
    present = {name: paths[0] for name, paths in files.items() if all(path.is_file() for path in paths)}
    return median_area_ratio((read_label_map(path), _sure(context, now, name)) for name, path in present.items())


def _sure(context: Context, now: RoundPaths, name: str) -> np.ndarray:
    """Return the detections of a round that are sure enough to teach the next, `[H, W]` int32."""
    return drop_unsure(*load_detections(now.detections, name), context.config.rounds.score)[0]


def _changes(context: Context, cycle: int) -> list[dict]:
    """Return the rows of held-out tiles, of the map against that of the cycle before, and of each round's nuclei.

    A teacher is compared with the last round of the cycle before, a student with the round before.
    """
    rows: list[dict] = []
    config, has_before = context.config, cycle > context.config.first_cycle
    if config.has_answers:
        rows.append({"source": "held_out_tiles", "tile_accuracy": _tile_accuracy(context, cycle)})
    if config.supervision == "image" and has_before:
        rows.append({"source": "map_stability", "correlation": _map_correlation(context, cycle)})
    before = context.last_round(cycle - 1) if has_before else None
    for round_ in range(config.rounds.students + 1):
        now = context.round(cycle, round_)
        agreement = _agreement(context, before, now) if before is not None else {}
        if agreement:
            rows.append({"source": "agreement", "round": round_, **agreement})
        before = now
    return [{"split": "all", **row} for row in rows]


def _tile_accuracy(context: Context, cycle: int) -> float:
    events = read_events(context.paths.log)
    return [e["accuracy"] for e in events if e["event"] == "classifier" and e["cycle"] == cycle][-1]


def _map_correlation(context: Context, cycle: int) -> float | None:
    """Return the mean over the images of Pearson's correlation of two cycles' maps; None where all are constant."""
    pairs = ([maps.read(context, number, name) for number in (cycle - 1, cycle)] for name in context.images)
    return mean_correlation((before, now) for before, now in pairs if before is not None and now is not None)


def _agreement(context: Context, before: RoundPaths, now: RoundPaths) -> dict[str, float]:
    """Return F1 at IoU over 0.5 and Dice of two rounds' predictions, the mean over the images that both predicted.

    Images in which neither found a nucleus are left out. They would agree fully, and a run without nuclei look perfect.
    """
    names = [n for n in context.images if before.prediction(n).is_file() and now.prediction(n).is_file()]
    pairs = [(read_label_map(before.prediction(n)), read_label_map(now.prediction(n))) for n in names]
    scores = [evaluate_pair(*pair) for pair in pairs if any(labels.any() for labels in pair)]
    return {metric: float(np.mean([each[metric] for each in scores])) for metric in SYMMETRIC} if scores else {}
