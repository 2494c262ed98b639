"""Evaluate one or more predictions side by side: what `cyclic evaluate` and scripts/evaluate.py do."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.evaluation import folders
from cyclic.evaluation.empty_tissue import EMPTY_MM2, FALSE_PER_MM2, USUAL_MPP
from cyclic.evaluation.statistics import paired_difference
from cyclic.evaluation.table import difference_rows, image_rows, markdown_table, write_csv
from cyclic.files import atomic_path, check_outputs, claim, same_place, write_json

BASELINE = "no_label_baseline"
# Numbers that are no scores; and a score whose mean is weighted: the mean of its differences would say something else.
NOT_COMPARED = ("n_true", "n_pred", EMPTY_MM2, FALSE_PER_MM2)


def name_predictions(pred: Sequence[str | Path]) -> dict[str, Path]:
    """Return `{name: path}` of "NAME=PATH" or of bare paths, which are named for their last part.

    Raises:
        InputError: two with one name, a name without a path, or none.
    """
    named: dict[str, Path] = {}
    for text in map(str, pred):
        name, separator, path = text.partition("=")
        if not separator or Path(text).exists():
            name, path = same_place(text).stem, text
        if not name or not path:
            raise InputError(f"--pred {text}: give a folder or NAME=FOLDER")
        if name in named or name == BASELINE:
            raise InputError(f"--pred {text}: a second {name}; name each prediction: --pred NAME=FOLDER")
        named[name] = Path(path)
    if not named:
        raise InputError("--pred: no prediction; give a folder or NAME=FOLDER")
    return named


def compare(
    pred: Sequence[str | Path],
    gt: str | Path,
    baseline: str | Path | None = None,
    iou_threshold: float = 0.5,
    seed: int = 0,
    mpp: float = USUAL_MPP,
    paper: bool = False,
    ambiguous: str | Path | None = None,
) -> tuple[dict[str, dict], list[dict]]:
    """Evaluate predictions of the same images and how they differ.

    Args:
        pred: folders of label maps or COCO files, each as PATH or "NAME=PATH".
        gt: folder of the true label maps or a COCO file.
        baseline: folder of the images, to evaluate `no_label_baseline` on them as well.
        iou_threshold: nuclei match over this IoU, in [0, 1).
        seed: seed of the bootstrap.
        mpp: micrometres per pixel of all images, over 0.
        paper: also the scores of `paper_metrics`.
        ambiguous: folder of masks of places where predictions do not count, see `evaluation.ambiguous`.

    Returns:
        `{name: evaluation}` as `evaluate_folders` gives them, the baseline first; and the differences. There is one
        `{"comparison": "b - a", "metric", "difference", "low", "high", "p", "n"}` for each two predictions and each
        metric that both have; see `paired_difference`.

    Raises:
        InputError: see `name_predictions` and `evaluate_folders`.
    """
    named, how = name_predictions(pred), (gt, iou_threshold, seed, mpp, paper, ambiguous)
    evaluations = {}
    if baseline is not None:
        evaluations[BASELINE] = folders.evaluate_baseline(baseline, *how)
    for name, path in named.items():
        evaluations[name] = folders.evaluate_folders(path, *how)
    differences = []
    for first, second in itertools.combinations(evaluations, 2):
        rows = _differences(evaluations[first]["images"], evaluations[second]["images"], seed)
        differences += [{"comparison": f"{second} - {first}", **row} for row in rows]
    return evaluations, differences


def _differences(first: dict[str, dict], second: dict[str, dict], seed: int) -> list[dict]:
    """Return a row for each metric, over the images where both sides have it."""
    rows = []
    metrics, metrics_of_second = next(iter(first.values())), next(iter(second.values()))
    for metric in metrics:
        if metric in NOT_COMPARED or metric not in metrics_of_second:
            continue
        pairs = [(first[name][metric], second[name][metric]) for name in first]
        pairs = [pair for pair in pairs if None not in pair]
        if pairs:
            before, after = np.array(pairs).T
            rows.append({"metric": metric, **paired_difference(before, after, seed)})
    return rows


def input_files(source: str | Path) -> list[Path]:
    """Return the files that a `--pred` or `--gt` names: a file, or the files of a folder."""
    path = next(iter(name_predictions([source]).values())) if isinstance(source, str) else source
    path = Path(path)
    return [inner for inner in path.iterdir() if inner.is_file()] if path.is_dir() else [path]


def json_document(evaluations: dict[str, dict], differences: list[dict]) -> dict:
    """Return what `--json` writes.

    Of one prediction that is its evaluation, `{"images", "mean", "interval", ...}`. With more predictions or
    a baseline it has also `"name"` of the first, `"others": {name: evaluation}` and `"differences"`.
    """
    first = next(name for name in evaluations if name != BASELINE)
    if len(evaluations) == 1:
        return evaluations[first]
    others = {name: evaluation for name, evaluation in evaluations.items() if name != first}
    return {**evaluations[first], "name": first, "others": others, "differences": differences}


def score_rows(evaluations: dict[str, dict]) -> list[dict]:
    """Return the rows of all evaluations, with a `source` where there is more than one."""
    if len(evaluations) == 1:
        return image_rows(*evaluations.values())
    return [{"source": name, **row} for name, evaluation in evaluations.items() for row in image_rows(evaluation)]


def evaluate_and_write(
    pred: Sequence[str | Path],
    gt: str | Path,
    baseline: str | Path | None = None,
    iou_threshold: float = 0.5,
    seed: int = 0,
    json: str | Path | None = None,
    csv: str | Path | None = None,
    markdown: str | Path | None = None,
    overwrite: bool = False,
    mpp: float = USUAL_MPP,
    paper: bool = False,
    ambiguous: str | Path | None = None,
) -> list[list[dict]]:
    """Compare, write the files asked for, and return the rows of the tables: the scores, then any differences.

    The differences of a CSV file `scores.csv` go to a second file, `scores.differences.csv`.

    `overwrite` lets outputs replace files that this program did not write. The other arguments are those of `compare`.

    Raises:
        InputError: see `compare`; or an output is an input or a file of somebody else, or cannot be written.
    """
    written = [Path(path) for path in (json, csv, markdown) if path is not None]
    if csv is not None:
        written.append(Path(csv).with_suffix(".differences.csv"))
    if len({same_place(path) for path in written}) < len(written):
        raise InputError(f"{written[0]}: two outputs in one file; give each a name of its own")
    read = [path for source in (*pred, gt) for path in input_files(source)]
    check_outputs(written, read, overwrite)
    evaluations, differences = compare(pred, gt, baseline, iou_threshold, seed, mpp, paper, ambiguous)
    tables = [score_rows(evaluations)] + ([difference_rows(differences)] if differences else [])
    if json is not None:
        write_json(json, json_document(evaluations, differences))
    if csv is not None:
        write_csv(csv, tables[0])
        if differences:
            write_csv(Path(csv).with_suffix(".differences.csv"), differences)
    if markdown is not None:
        with atomic_path(markdown) as temporary:
            temporary.write_text("\n".join(map(markdown_table, tables)), encoding="utf-8")
    for path in written:
        if path.is_file():  # without differences there is no file of them
            claim(path)
    return tables
