"""Every setting of a run, typed and checked, with its default and its meaning.

`RunConfig` reads the YAML files in `configs/`, is saved beside a run's weights, and is the only place of defaults. The
defaults are the recommended recipe for two CPU cores; `docs/settings.md` is written from the descriptions of its keys.
"""

from cyclic.config.checking import validate
from cyclic.config.layers import parse_overrides
from cyclic.config.loading import load_config, merge_overrides, read_stored, read_stored_strictly
from cyclic.config.reading import read_yaml
from cyclic.config.run import RunConfig, sections_of
from cyclic.config.sections import SMALLEST_TILE, DetectionConfig, PseudoConfig, TilesConfig

__all__ = [
    "SMALLEST_TILE",
    "DetectionConfig",
    "PseudoConfig",
    "RunConfig",
    "TilesConfig",
    "load_config",
    "merge_overrides",
    "parse_overrides",
    "read_stored",
    "read_stored_strictly",
    "read_yaml",
    "sections_of",
    "validate",
]
