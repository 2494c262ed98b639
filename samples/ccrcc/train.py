"""Train on ccRCC with `configs/ccrcc.yaml`, the paper's schedule.

Example:
    python samples/ccrcc/train.py --data DATA --out RUN [--set section.key=value] [--resume] [--dry-run]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import train  # noqa: E402 - a sibling of this folder

if __name__ == "__main__":
    train("ccrcc.yaml")
