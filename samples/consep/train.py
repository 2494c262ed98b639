"""Train on CoNSeP: `cyclic train` with `configs/consep_cpu.yaml` and all its options.

Example:
    python samples/consep/train.py --dataset DIR --out RUN [--weights WEIGHTS] [--cycles N]

WEIGHTS is none, imagenet, coco, last (go on after a stop) or an h5 file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import train  # noqa: E402

if __name__ == "__main__":
    train("consep_cpu.yaml", sys.argv[1:])
