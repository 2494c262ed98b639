"""What a run can tell of itself without instance labels.

None of it says that the nuclei are right. Answers held out say that the classifier has learnt the question. Maps and
nuclei that no longer change say that more cycles would change little.
"""

import numpy as np

from cyclic.cycle.context import Context
from cyclic.cycle.stages import maps
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.evaluation.statistics import mean_correlation
from cyclic.label_maps import read_label_map
from cyclic.runs.directory import read_events
from cyclic.runs.paths import RoundPaths

# Both treat the two label maps alike, so it does not matter which one is called true.
SYMMETRIC = ("f1", "dice")


def score_cycle(context: Context, cycle: int) -> None:
    """Add the rows of a cycle: held-out tiles, the map against that of the cycle before, each round against the last.

    A teacher is compared with the last round of the cycle before, a student with the round before. There is no row for
    what has nothing to be compared with.
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
    context.run.add_rows({"cycle": cycle, "split": "all", **row} for row in rows)


def _tile_accuracy(context: Context, cycle: int) -> float:
    events = read_events(context.paths.log)
    return [e["accuracy"] for e in events if e["event"] == "classifier" and e["cycle"] == cycle][-1]


def _map_correlation(context: Context, cycle: int) -> float | None:
    """Return the mean over the images of Pearson's correlation of two cycles' maps; None where all are constant."""
    pairs = ([maps.read(context, number, name) for number in (cycle - 1, cycle)] for name in context.images)
    return mean_correlation((before, now) for before, now in pairs if before is not None and now is not None)


def _agreement(context: Context, before: RoundPaths, now: RoundPaths) -> dict[str, float]:
    """Return F1 at IoU over 0.5 and Dice of two rounds' predictions, the mean over the images that both predicted."""
    names = [n for n in context.images if before.prediction(n).is_file() and now.prediction(n).is_file()]
    pairs = [(read_label_map(before.prediction(n)), read_label_map(now.prediction(n))) for n in names]
    scores = [evaluate_pair(*pair) for pair in pairs]
    return {metric: float(np.mean([each[metric] for each in scores])) for metric in SYMMETRIC} if scores else {}
