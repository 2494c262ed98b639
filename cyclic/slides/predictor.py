"""`Predictor` with slides: what `cyclic.Predictor` is."""

import tempfile
from pathlib import Path

from cyclic.inference import predictor
from cyclic.slides.predict import SlideNuclei, SlideOptions, find_nuclei
from cyclic.slides.tissue import AUTO


class Predictor(predictor.Predictor):
    __doc__ = predictor.Predictor.__doc__

    def predict_slide(
        self,
        path: str | Path,
        mpp: float | None = None,
        region: tuple[int, int, int, int] | None = None,
        tissue: str | Path = AUTO,
    ) -> SlideNuclei:
        """Return the nuclei of a slide, or of an image file of any size, of which memory holds a part at a time.

        Chunks lie in a temporary folder as long as what is returned. `cyclic predict` keeps them when it is stopped.

        Args:
            path: the slide.
            mpp: micrometres per pixel; None: what the file says. A warning tells where nobody does.
            region: (x, y, width, height) in px of the finest level; None: all.
            tissue: where to look: "auto" finds coloured tissue, "none" looks everywhere, or a GeoJSON file of polygons.

        Returns:
            The nuclei in px of the finest level. Iterate over it, or call `write` or `label_map`.

        Raises:
            InputError: the slide cannot be read, is of another resolution than the model can use, or has no tissue.
        """
        chunks = tempfile.TemporaryDirectory(prefix="cyclic-")
        options = SlideOptions(mpp, region, str(tissue))
        found = find_nuclei(self, Path(path), options, Path(chunks.name), f"object {id(self)}", lambda: self)
        found.chunks = chunks
        return found
