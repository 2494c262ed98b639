"""What the `train.py` of each data set does: `cyclic train` with a configuration of this project."""

import sys
from pathlib import Path

from cyclic.cli import main

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def train(config: str) -> None:
    """Run `cyclic train` with the program's own arguments, and `configs/<config>` unless `--config` is among them.

    Leaves the process with the command's exit code.
    """
    arguments = sys.argv[1:]
    given = [] if "--config" in arguments else ["--config", str(CONFIGS / config)]
    main(["train", *given, *arguments])
