"""Write predictions for other tools: QuPath (GeoJSON), COCO (JSON with RLE), spreadsheets (CSV) and the eye.

In all functions `labels` is `[H, W]` int, 0 = background, with the labels 1..N, and `scores` is `[N]` float in [0, 1],
of label i at i - 1. Label maps themselves are written by `cyclic.files.write_label_map`.
"""

from cyclic.inference.export.coco import export_coco
from cyclic.inference.export.geojson import export_geojson
from cyclic.inference.export.table import export_csv

__all__ = ["export_coco", "export_csv", "export_geojson"]
