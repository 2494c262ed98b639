"""Train on MoNuSAC / MoNuSeg: `cyclic train` with `configs/monusac_cpu.yaml` and all its options.

Example:
    python samples/monusac/train.py --dataset DIR --out RUN [--weights WEIGHTS] [--cycles N]

WEIGHTS is none, imagenet, coco, last (go on after a stop) or an h5 file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import train  # noqa: E402

if __name__ == "__main__":
    train("monusac_cpu.yaml", sys.argv[1:])
