"""A COCO file of several predictions in one call."""

from cyclic.inference.export.coco import CocoFile


def export_coco(path, predictions):
    """Write `{file name: (labels, scores)}`."""
    coco = CocoFile()
    for name, (labels, scores) in predictions.items():
        coco.add(name, labels, scores)
    coco.write(path)
