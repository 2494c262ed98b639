"""The curves of a report: scores over cycles and rounds, losses, precision of the pseudo masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from cyclic.evaluation.matching import contingency, match
from cyclic.evaluation.table import HEADINGS
from cyclic.files import read_label_map
from cyclic.report.layers import network_name, numbered
from cyclic.report.line_chart import Reference, Series, line_chart

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
COLORS, DASHES = 6, 4


def score_charts(rows: list[dict]) -> list[Markup]:
    """Return AJI, Dice and PQ over the steps of the run; pseudo masks stand apart, they cover the best nuclei only."""
    shown = [row for row in rows if row["source"] in ("pseudo_masks", "model")]
    steps = sorted((row["cycle"], row["source"] == "model", row["round"]) for row in shown)
    place = {step: index for index, step in enumerate(steps, 1)}
    ticks = [(x, (f"S{r}" if r else "T") if model else "P") for (_, model, r), x in place.items()]
    cycles = sorted({cycle for cycle, *_ in steps})
    within = {cycle: [x for step, x in place.items() if step[0] == cycle] for cycle in cycles}
    groups = [(xs[0], xs[-1], f"cycle {cycle}") for cycle, xs in within.items()]
    baseline = rows_of(rows, "no_label_baseline")
    charts = []
    for metric in MAIN_METRICS if steps else ():
        model = [(place[row["cycle"], True, row["round"]], row[metric]) for row in rows_of(rows, "model")]
        pseudo = [(place[row["cycle"], False, row["round"]], row[metric]) for row in rows_of(rows, "pseudo_masks")]
        series = [Series("model", model, "c0"), Series("pseudo masks", pseudo, "c1", joined=False)]
        reference = Reference("baseline", baseline[0][metric]) if baseline else None
        chart = line_chart(HEADINGS[metric], series, ticks=ticks, groups=groups, reference=reference, labelled=True)
        charts.append(chart)
    return charts


def loss_charts(events: list[dict]) -> list[Markup]:
    """Return the losses: colour says the cycle, dashes the round. Of a stage that ran twice the last time counts."""
    classifier = {event["cycle"]: event for event in events if event["event"] == "classifier"}
    segmenter = {(event["cycle"], event["round"]): event for event in events if event["event"] == "segmenter"}
    series = [Series(f"cycle {c}", _numbered(event["losses"]), _css(c)) for c, event in sorted(classifier.items())]
    charts = [line_chart("Classifier, cross-entropy", series, x_name="epoch")]
    for key, title in LOSSES.items():
        series = [
            Series(f"cycle {c}, {network_name(r)}", _numbered(event["losses"].get(key, [])), _css(c, r))
            for (c, r), event in sorted(segmenter.items())
        ]
        charts.append(line_chart(title, series, x_name="epoch"))
    return [chart for chart in charts if chart]


def precision_chart(run: Path, truths: dict[str, np.ndarray]) -> Markup:
    """Return the precision by rank of each cycle's pseudo masks on val, `truths` by image id; empty without them."""
    series = []
    for cycle in numbered(run, "cycle") if truths else ():
        files = [run / f"cycle_{cycle}" / "pseudo" / "labels" / f"{name}.tif" for name in truths]
        if all(path.is_file() for path in files):
            precision = precision_by_rank(list(truths.values()), [read_label_map(path) for path in files])
            series.append(Series(f"cycle {cycle}", _numbered(precision.tolist()), _css(cycle)))
    return line_chart("Pseudo masks that match a nucleus", series, x_name="best k of each image", top=1.0)


def _numbered(values: Sequence[float | None]) -> list[tuple[int, float | None]]:
    return list(enumerate(values, 1))


def _css(cycle: int, round_: int = 0) -> str:
    return f"c{(cycle - 1) % COLORS} dash{round_ % DASHES}"


def precision_by_rank(truths: Sequence[np.ndarray], ranked: Sequence[np.ndarray]) -> np.ndarray:
    """Return the share of the best k pseudo masks that match a nucleus at IoU > 0.5, for k = 1, 2, ...

    Args:
        truths: label maps, `[H, W]` integer.
        ranked: pseudo masks of the same images, `[H, W]` integer, labels 1..n by rank (1 = best).

    Returns:
        `[K]` float64 in [0, 1], K the most pseudo masks in an image. The best k of every image are pooled; an image
        with fewer gives all it has.
    """
    longest = max((int(labels.max(initial=0)) for labels in ranked), default=0)
    hits, masks = np.zeros(longest), np.zeros(longest)
    for true, labels in zip(truths, ranked, strict=True):
        overlaps = contingency(true, labels)
        hits[overlaps.pred_ids[overlaps.cols[match(overlaps).pairs]] - 1] += 1
        masks[: labels.max(initial=0)] += 1
    return hits.cumsum() / masks.cumsum()


def rows_of(rows: list[dict], source: str) -> list[dict]:
    """Return the rows of `metrics.json` of one source, by cycle and round."""
    found = [row for row in rows if row["source"] == source]
    return sorted(found, key=lambda row: (row["cycle"], row["round"]))
