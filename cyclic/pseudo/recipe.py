"""The recipes for pseudo masks: which map they come from, and how it is cut, ranked and finished."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from cyclic.config import RunConfig


@dataclass(frozen=True)
class Recipe:
    """What belongs together whenever pseudo masks are made.

    Attributes:
        source: the map whose components become pseudo masks; for "both" see `candidates.source_maps`.
        threshold: "otsu", or a share of the map's range, in [0, 1].
        split: whether touching nuclei are split and outlines smoothed.
        max_hole: holes of up to this many source pixels are filled: a vesicular nucleus is pale inside. 0: none.
        rank_by: the score that candidates are ranked by, see `ComponentScores`.
        hull: whether pseudo masks are filled to their convex hulls.
        pooled: whether the best share is of all images' candidates together; else it is of each image's own.
    """

    source: Literal["activation", "hematoxylin", "both"]
    threshold: Literal["otsu"] | float
    split: bool
    max_hole: int
    rank_by: Literal["confidence", "solidity"]
    hull: bool
    pooled: bool

    @property
    def reads_activation(self) -> bool:
        """Whether the classifier's map decides."""
        return self.source != "hematoxylin"


_STAIN = Recipe("hematoxylin", "otsu", split=True, max_hole=800, rank_by="confidence", hull=False, pooled=True)
RECIPES = {
    "map": dataclasses.replace(_STAIN, source="both"),
    "stain": _STAIN,
    # Zhou et al. 2023, section III-C: components of the relevance map, ranked by solidity within their area limits.
    "paper": Recipe("activation", 0.1, split=False, max_hole=0, rank_by="solidity", hull=True, pooled=False),
}


def recipe_of(config: RunConfig) -> Recipe:
    """Return the recipe that a run's settings name; without yes/no answers there is no map, and `map` is `stain`."""
    without_map = config.supervision != "image" and config.pseudo.recipe == "map"
    return RECIPES["stain" if without_map else config.pseudo.recipe]
