"""The curves of a report: scores over cycles and rounds, losses, precision of the pseudo masks."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from cyclic.evaluation.ranking import precision_by_rank
from cyclic.evaluation.table import HEADINGS
from cyclic.label_maps import read_label_map
from cyclic.report.layers import network_name
from cyclic.report.line_chart import Reference, Series, line_chart
from cyclic.runs.paths import RunPaths

MAIN_METRICS = ("aji", "dice", "pq")
# Losses of Mask R-CNN in the order of the network.
LOSSES = {
    "loss": "Mask R-CNN, all losses",
    "rpn_class_loss": "RPN: nucleus or not",
    "rpn_bbox_loss": "RPN: box",
    "mrcnn_class_loss": "Head: class",
    "mrcnn_bbox_loss": "Head: box",
    "mrcnn_mask_loss": "Head: mask",
}
# The event of a trained Mask R-CNN in a run's log; the second name is that of older runs.
TRAINED = ("mask_rcnn", "segmenter")
COLORS, DASHES = 6, 4


def score_charts(rows: list[dict]) -> list[Markup]:
    """Return AJI, Dice and PQ over the steps of the run.

    Pseudo masks are markers without a line. They are only the best components, so the two cannot be compared.
    """
    shown = [row for row in rows if row["source"] in ("pseudo_masks", "model")]
    steps = sorted((row["cycle"], row["source"] == "model", row["round"]) for row in shown)
    x_of = {step: index for index, step in enumerate(steps, 1)}
    ticks = [(x, (f"S{r}" if r else "T") if model else "P") for (_, model, r), x in x_of.items()]
    cycles = sorted({cycle for cycle, *_ in steps})
    within = {cycle: [x for step, x in x_of.items() if step[0] == cycle] for cycle in cycles}
    groups = [(xs[0], xs[-1], f"cycle {cycle}") for cycle, xs in within.items()]
    baseline = rows_of(rows, "no_label_baseline")
    charts = []
    for metric in MAIN_METRICS if steps else ():
        model = [(x_of[row["cycle"], True, row["round"]], row[metric]) for row in rows_of(rows, "model")]
        pseudo = [(x_of[row["cycle"], False, row["round"]], row[metric]) for row in rows_of(rows, "pseudo_masks")]
        series = [Series("Mask R-CNN", model, "c0"), Series("pseudo masks", pseudo, "c1", joined=False)]
        reference = Reference("baseline", baseline[0][metric]) if baseline else None
        chart = line_chart(HEADINGS[metric], series, ticks=ticks, groups=groups, reference=reference, labelled=True)
        charts.append(chart)
    return charts


def map_chart(rows: list[dict]) -> Markup:
    """Return the area under the ROC curve of the activation maps on val over the cycles; empty without any."""
    points = [(row["cycle"], row["auc"]) for row in rows_of(rows, "map") if row["auc"] is not None]
    if not points:
        return Markup("")
    ticks, groups = [(cycle, str(cycle)) for cycle, _ in points], [(points[0][0], points[-1][0], "cycle")]
    series, chance = [Series("activation map", points)], Reference("chance", 0.5)
    title = "AUC of the activation map"
    return line_chart(title, series, ticks=ticks, groups=groups, reference=chance, top=1.0, labelled=True)


def loss_charts(events: list[dict]) -> list[Markup]:
    """Return the losses. The colour of a line is its cycle, the dashes are its round.

    Of a stage that ran twice the later losses are shown.
    """
    classifier = {event["cycle"]: event for event in events if event["event"] == "classifier"}
    mask_rcnn = {(event["cycle"], event["round"]): event for event in events if event["event"] in TRAINED}
    series = [Series(f"cycle {c}", _points(event["losses"]), _css(c)) for c, event in sorted(classifier.items())]
    charts = [line_chart("Classifier, cross-entropy", series, x_name="epoch")]
    for key, title in LOSSES.items():
        series = [
            Series(f"cycle {c}, {network_name(r)}", _points(event["losses"].get(key, [])), _css(c, r))
            for (c, r), event in sorted(mask_rcnn.items())
        ]
        charts.append(line_chart(title, series, x_name="epoch"))
    return [chart for chart in charts if chart]


def precision_chart(run: RunPaths, truths: dict[str, np.ndarray]) -> Markup:
    """Return the precision by rank of each cycle's pseudo masks on val.

    Args:
        run: paths of the run.
        truths: the true label map of each val image, by image id. Without any the chart is empty.
    """
    series = []
    for cycle in run.cycles() if truths else ():
        files = [run.cycle(cycle).pseudo() / "labels" / f"{name}.tif" for name in truths]
        if all(path.is_file() for path in files):
            precision = precision_by_rank(list(truths.values()), [read_label_map(path) for path in files])
            series.append(Series(f"cycle {cycle}", _points(precision.tolist()), _css(cycle)))
    return line_chart("Pseudo masks that match a nucleus", series, x_name="best k of each image", top=1.0)


def _points(values: Sequence[float | None]) -> list[tuple[int, float | None]]:
    return list(enumerate(values, 1))


def _css(cycle: int, round_: int = 0) -> str:
    return f"c{(cycle - 1) % COLORS} dash{round_ % DASHES}"


def rows_of(rows: list[dict], source: str) -> list[dict]:
    """Return the rows of `metrics.json` of one source, by cycle and round."""
    of_source = [row for row in rows if row["source"] == source]
    return sorted(of_source, key=lambda row: (row["cycle"], row.get("round", 0)))
