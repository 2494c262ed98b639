"""Evaluate a folder of predicted label maps against a folder of true ones."""

from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import label_files, read_json, read_label_map


def evaluate_folders(pred_dir: str | Path, gt_dir: str | Path) -> dict[str, dict]:
    """Return the metrics of each image and their mean.

    Files are paired by image id (the name without its suffix). Where every prediction has an `<id>.geojson` beside its
    label map, as `cyclic predict` writes it, its scores give AP50.

    Args:
        pred_dir: folder of predicted label maps.
        gt_dir: folder of true label maps.

    Returns:
        `{"images": {id: {metric: value}}, "mean": {metric: value}}`.

    Raises:
        InputError: a folder or file cannot be read, the ids of the two folders differ, or a pair differs in shape.
    """
    pred_files, gt_files = label_files(pred_dir), label_files(gt_dir)
    _require_same_ids(pred_dir, pred_files, gt_dir, gt_files)
    scored = all(path.with_suffix(".geojson").is_file() for path in pred_files.values())
    images = {}
    for name, gt_path in gt_files.items():
        true, pred = read_label_map(gt_path), read_label_map(pred_files[name])
        if true.shape != pred.shape:
            raise InputError(
                f"{pred_files[name]}: shape {pred.shape}, but {gt_path} has {true.shape}; predict on the unscaled image"
            )
        confidence = _confidence(pred_files[name].with_suffix(".geojson"), pred) if scored else None
        images[name] = evaluate_pair(true, pred, confidence)
    metrics = next(iter(images.values()))
    return {"images": images, "mean": {m: float(np.mean([row[m] for row in images.values()])) for m in metrics}}


def _require_same_ids(pred_dir: str | Path, pred_files: dict, gt_dir: str | Path, gt_files: dict) -> None:
    missing = [name for name in gt_files if name not in pred_files]
    if missing:
        raise InputError(f"{pred_dir}: no prediction for {_first(missing)}; predict them or remove them from {gt_dir}")
    extra = [name for name in pred_files if name not in gt_files]
    if extra:
        raise InputError(f"{gt_dir}: no ground truth for {_first(extra)}; add it or remove these files from {pred_dir}")


def _first(names: list[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _confidence(path: Path, pred: np.ndarray) -> np.ndarray:
    """`[P]` float64 scores of the nuclei in `pred` by ascending label, from the GeoJSON features named by label."""
    try:
        features = [feature["properties"] for feature in read_json(path)["features"]]
        scores = {int(properties["name"]): float(properties["measurements"]["score"]) for properties in features}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: a feature lacks its label or score ({error!r}); export the file again") from error
    labels = np.unique(pred[pred > 0]).tolist()
    unscored = [str(label) for label in labels if label not in scores]
    if unscored:
        raise InputError(f"{path}: no score for label {_first(unscored)}; export it together with the label map")
    return np.array([scores[label] for label in labels])
