"""What TensorBoard shows of a stage once it has ended: read back from the stage's files, never asked of the stage."""

from collections.abc import Iterable

from cyclic.cycle.context import Context
from cyclic.cycle.stages.scores import REPORTED
from cyclic.draw.colours import map_colors
from cyclic.draw.overlays import contour_overlay, error_overlay, pseudo_overlay
from cyclic.evaluation.compare import BASELINE
from cyclic.evaluation.empty_tissue import FALSE_PER_MM2
from cyclic.evaluation.error_types import find_errors
from cyclic.evaluation.matching import contingency
from cyclic.evaluation.ranking import precision_by_rank
from cyclic.images import read_map
from cyclic.label_maps import read_label_map
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.runs.directory import read_events


def show_classifier(context: Context, cycle: int) -> None:
    """Show accuracy and F1 on the held-out tiles."""
    events = [event for event in read_events(context.paths.log) if event["event"] == "classifier"]
    values = {f"classifier/held_out_{name}": events[-1][name] for name in ("accuracy", "f1")}
    context.board.scalars("classifier", values, cycle)


def show_maps(context: Context, cycle: int) -> None:
    """Show the activation maps."""
    step = context.schedule.rounds_before(cycle)
    for name in _shown(context, context.images):
        activation = read_map(context.cycle(cycle).map(name))
        context.board.picture(name, "activation_map", step, map_colors(activation))


def show_map_scores(context: Context, cycle: int) -> None:
    """Show how well a cycle's activation maps part nuclei from background."""
    _show_row(context, "map", cycle, None, context.schedule.rounds_before(cycle))


def show_pseudo_masks(context: Context, cycle: int, round_: int = 0) -> None:
    """Show the pseudo masks that a round trains on."""
    step = context.schedule.rounds_before(cycle, round_)
    for name in _shown(context, context.images if round_ == 0 else context.train.ids):
        pseudo = load_pseudo_masks(context.cycle(cycle).pseudo(round_), name)
        picture = pseudo_overlay(context.images[name], pseudo.labels, pseudo.ignore, 1)
        context.board.picture(name, "pseudo_masks", step, picture)


def show_detections(context: Context, cycle: int, round_: int) -> None:
    """Show the predictions of a round, and the pseudo masks that its detections joined."""
    step = context.schedule.rounds_before(cycle, round_ + 1)
    for name in _shown(context, context.images):
        path = context.round(cycle, round_).prediction(name)
        if path.is_file():  # after the last round of all, training images are not detected
            context.board.picture(
                name, "prediction", step, contour_overlay(context.images[name], read_label_map(path), 1)
            )
    if round_ < context.config.rounds.students:
        show_pseudo_masks(context, cycle, round_ + 1)


def show_baseline(context: Context) -> None:
    """Show the scores of the no-label baseline."""
    _show_row(context, BASELINE, 0, 0, 0)


def show_pseudo_scores(context: Context, cycle: int) -> None:
    """Show the scores of a cycle's pseudo masks, and how their precision falls with the rank."""
    _show_row(context, "pseudo_masks", cycle, 0, context.schedule.rounds_before(cycle))
    assert context.val is not None, "scores are shown without val images"
    folder = context.cycle(cycle).pseudo() / "labels"
    predicted = [read_label_map(folder / f"{name}.tif") for name in context.scored_ids]
    precision = precision_by_rank([context.val.label_map(name) for name in context.scored_ids], predicted)
    for k, value in enumerate(precision.tolist(), start=1):
        context.board.scalars(f"cycle_{cycle}/pseudo", {"pseudo_masks/precision_of_best_k": value}, k)


def show_scores(context: Context, cycle: int, round_: int) -> None:
    """Show the scores of a round beside the baseline's, and its errors."""
    step = context.schedule.rounds_before(cycle, round_ + 1)
    _show_row(context, "model", cycle, round_, step)
    # The same values again at each step: a line to look at the others by.
    _show_row(context, BASELINE, 0, 0, step)
    assert context.val is not None, "scores are shown without val images"
    for name in _shown(context, context.scored_ids):
        predicted = read_label_map(context.round(cycle, round_).prediction(name))
        true = context.val.label_map(name)
        picture = error_overlay(context.images[name], true, predicted, find_errors(contingency(true, predicted)), 1)
        context.board.picture(name, "errors", step, picture)


def _shown(context: Context, names: Iterable[str]) -> list[str]:
    return [name for name in names if name in context.board.names]


def _show_row(context: Context, source: str, cycle: int, round_: int | None, step: int) -> None:
    for row in context.run.rows:
        if (row["source"], row["cycle"], row.get("round")) == (source, cycle, round_):
            scores = {f"val/{metric}": row.get(metric) for metric in ("auc", *REPORTED, FALSE_PER_MM2)}
            context.board.scalars(source, scores, step)
