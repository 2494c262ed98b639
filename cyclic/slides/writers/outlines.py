"""QuPath detections as GeoJSON, also compressed by gzip, which QuPath opens as it is."""

import gzip
import json
from pathlib import Path
from typing import IO

from cyclic.files import MARK
from cyclic.inference.export.geojson import features
from cyclic.slides.nuclei import Nuclei
from cyclic.slides.writers.writer import Canvas


class GeoJsonWriter:
    """Writes one feature a nucleus, see `export.geojson.features`.

    Args:
        path: .geojson, or .geojson.gz.
        canvas: of the slide.
    """

    def __init__(self, path: Path, canvas: Canvas):
        self._path, self._is_first = path, True

    def __enter__(self) -> "GeoJsonWriter":
        self._raw = open(self._path, "wb")  # noqa: SIM115
        self._file: IO[bytes] | gzip.GzipFile = self._raw
        if self._path.suffix == ".gz":
            # Without name and time, the same nuclei make the same bytes.
            self._file = gzip.GzipFile("", "wb", 6, self._raw, mtime=0)
        self._write(f'{{"type":"FeatureCollection","generator":"{MARK}","features":[\n')
        return self

    def add(self, nuclei: Nuclei) -> None:
        found = features(nuclei.labels, nuclei.scores, nuclei.measured, nuclei.offset)
        lines = ",\n".join(json.dumps(feature, separators=(",", ":")) for feature in found)
        self._write(lines if self._is_first else f",\n{lines}")
        self._is_first = False

    def __exit__(self, *_) -> None:
        self._write("\n]}\n")
        self._file.close()
        self._raw.close()

    def _write(self, text: str) -> None:
        self._file.write(text.encode())
