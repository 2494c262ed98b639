"""Charts and tables of results and weights, under Matterport's names; `visualize` offers them all."""

import html
import importlib.util

import matplotlib.pyplot as plt
import numpy as np


def plot_precision_recall(AP, precisions, recalls):
    """Draw the precision-recall curve of `utils.compute_ap` on new axes, which are returned."""
    ax = plt.subplots(1)[1]
    ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
    ax.set_xlim(0, 1.1)
    ax.set_ylim(0, 1.1)
    ax.plot(recalls, precisions)
    return ax


def plot_overlaps(gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names, threshold=0.5):
    """Draw the grid of overlaps of predictions (rows) and ground truth (columns) on new axes, which are returned.

    Args:
        gt_class_ids, pred_class_ids: int class ids; zeros at the end are padding.
        pred_scores: `[P]` float.
        overlaps: `[P, G]` intersection over union, see `utils.compute_matches`.
        class_names: name of each class id.
        threshold: cells with a larger overlap say "match" (same class) or "wrong".
    """
    gt_class_ids, pred_class_ids = gt_class_ids[gt_class_ids != 0], pred_class_ids[pred_class_ids != 0]
    figure, ax = plt.subplots(1, figsize=(12, 10))
    ax.imshow(overlaps, interpolation="nearest", cmap="Blues")
    predictions = zip(pred_class_ids, pred_scores, strict=False)
    labels = [f"{class_names[class_id]} ({score:.2f})" for class_id, score in predictions]
    ax.set_yticks(np.arange(len(pred_class_ids)), labels)
    ax.set_xticks(np.arange(len(gt_class_ids)), [class_names[class_id] for class_id in gt_class_ids], rotation=90)
    for (row, column), overlap in np.ndenumerate(overlaps):
        verdict = "match" if gt_class_ids[column] == pred_class_ids[row] else "wrong"
        text = f"{overlap:.3f}\n{verdict if overlap > threshold else ''}"
        color = "white" if overlap > overlaps.max() / 2 else "black" if overlap > 0 else "grey"
        ax.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    ax.set_xlabel("Ground Truth")
    ax.set_ylabel("Predictions")
    figure.tight_layout()
    return ax


def display_table(table):
    """Show rows of values as a table: HTML where IPython is installed and running, else aligned text."""
    rows = [[str(value) for value in row] for row in table]
    if _in_ipython():
        from IPython.display import HTML, display

        cells = ("".join(f"<td>{html.escape(value)}</td>" for value in row) for row in rows)
        display(HTML(f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"))
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{value:{width}}" for value, width in zip(row, widths, strict=True)).rstrip())


def display_weight_stats(model):
    """Show shape, extreme values and standard deviation of each weight of a `MaskRCNN`, and return the table.

    Weights whose values are all equal are marked as dead, except biases, which start so. Values over 1000 are marked as
    overflow.
    """
    table = [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD"]]
    for layer in model.get_trainable_layers():
        for weight in layer.weights:
            value = weight.numpy()
            dead = value.min() == value.max() and weight.name != "bias"
            alert = " *** dead?" * bool(dead) + " *** overflow?" * bool(np.abs(value).max() > 1000)
            numbers = [f"{number:+.4f}" for number in (value.min(), value.max(), value.std())]
            table.append([f"{layer.name}/{weight.name}{alert}", str(value.shape), *numbers])
    display_table(table)
    return table


def _in_ipython():
    if importlib.util.find_spec("IPython") is None:
        return False
    from IPython import get_ipython

    return get_ipython() is not None
