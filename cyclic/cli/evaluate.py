"""`cyclic evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from cyclic.cli.options import FOLDER, Overwrite
from cyclic.cli.table import print_table


def evaluate(
    pred: Annotated[
        list[str], typer.Option(help="Folder of label maps or COCO .json file, or NAME=one; repeat to compare.")
    ],
    gt: Annotated[Path, typer.Option(help="The same of the true nuclei, the same file names.", exists=True)],
    json: Annotated[Path | None, typer.Option(help="Write the scores to this file, too.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write them as CSV; differences beside it.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables as Markdown.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Folder of the images: score the no-label baseline on them, too.", **FOLDER)
    ] = None,
    iou: Annotated[float, typer.Option(help="Nuclei match over this IoU, at least 0 and below 1.")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of all images, for false nuclei per mm²; default: 0.25.")
    ] = None,
    paper_metrics: Annotated[
        bool, typer.Option("--paper-metrics", help="Also the scores of the paper's program, on masks of all nuclei.")
    ] = False,
    ambiguous: Annotated[
        Path | None, typer.Option(help="Folder of masks (MoNuSAC): predictions in white places do not count.", **FOLDER)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score predicted label maps: AJI, AJI+, Dice, Dice2, DQ, SQ, PQ, F1, Hausdorff, and AP where there are scores.

    False nuclei per mm² are counted where no true nucleus is near. Where both sides have classes (.mat files, or types/
    beside labels/), nuclei are also paired by their centroids: F_d, and F_c of each class.

    Means come with a 95 % bootstrap interval; several predictions are compared image by image (Wilcoxon).

    Example: cyclic evaluate --pred predictions --gt data/labels --json scores.json
    """
    from cyclic.evaluation.compare import evaluate_and_write
    from cyclic.evaluation.empty_tissue import FALSE_PER_MM2, USUAL_MPP

    assumed = USUAL_MPP if mpp is None else mpp
    how = (iou, seed, json, csv, markdown, overwrite, assumed, paper_metrics, ambiguous)
    tables = evaluate_and_write(pred, gt, baseline, *how)
    for rows in tables:
        print_table(rows)
    if mpp is None and any(row.get(FALSE_PER_MM2) is not None for row in tables[0]):
        print(f"False / mm² takes a pixel for {USUAL_MPP} µm (40x); --mpp states another")
