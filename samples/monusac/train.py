"""Train on MoNuSAC / MoNuSeg: `cyclic train` with `configs/monusac_cpu.yaml` and all its options.

Example:
    python samples/monusac/train.py --dataset DIR --out RUN [--resume] [--dry-run] [--set section.key=value]
"""

import re
import sys
from pathlib import Path

from cyclic.cli import main

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "monusac_cpu.yaml"

if __name__ == "__main__":
    options = [re.sub("^--dataset", "--data", option) for option in sys.argv[1:]]
    main(["train", "--config", str(CONFIG), *options])
