"""Copy a model without the anchors of its finest pyramid level, to score both: the RPN is one for all levels.

Example:
    python studies/without_finest_anchors.py RUN/best.weights.h5 --out coarse.weights.h5
"""

import argparse
import shutil
import sys
from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import atomic_path
from cyclic.mrcnn.weights import h5
from cyclic.networks import stored_settings
from cyclic.trained import stored_config


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="best.weights.h5 of a run, or a shipped model's file")
    parser.add_argument("--out", type=Path, required=True, help="the copy")
    options = parser.parse_args(arguments)
    try:
        config = stored_config(options.weights)
        coarse = config.mask_rcnn.model_copy(update={"anchor_scales": config.mask_rcnn.anchor_scales[-4:]})
        settings = stored_settings(config.model_copy(update={"mask_rcnn": coarse}))
        with atomic_path(options.out) as copy:
            shutil.copyfile(options.weights, copy)
            h5.change_attribute(copy, "run_config", settings)
    except InputError as error:
        print(f"without_finest_anchors.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
