#!/usr/bin/env bash
# torchstain 1.4.1, with NumPy 2.4.6.
#
# The Reinhard normaliser divides each Lab channel by its standard deviation. In a tile of bare glass, all of one colour
# as scanners fill it, that is zero. The quotient is no number, and its conversion to 8 bits gives black. So the tiles
# that hold nothing become the darkest of the slide: a threshold on darkness finds a nucleus as large as the tile. No
# error is raised; NumPy warns of a division.
#
# Seen: a tile of (245, 245, 245) becomes (0, 0, 0), and so does one of 255. The tile of tissue keeps its colours.
#
# Exit code 0: still so. 1: it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torchstain==1.4.1 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import numpy as np
import torchstain

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
tissue = rng.normal((200, 130, 190), 15, (64, 64, 3)).clip(0, 255).astype(np.uint8)
tissue[20:30, 20:30] = rng.normal((90, 50, 130), 10, (10, 10, 3)).clip(0, 255).astype(np.uint8)

normaliser = torchstain.normalizers.ReinhardNormalizer(backend="numpy")
normaliser.fit(tissue)
means = {}
tiles = {"tissue": tissue} | {f"glass {value}": np.full_like(tissue, value) for value in (245, 255)}
for name, tile in tiles.items():
    means[name] = normaliser.normalize(I=tile).mean((0, 1))
    print(f"{name}: mean colour {tile.mean((0, 1)).round()}, normalised {means[name].round()}")
black = all(means[name].max() == 0 for name in ("glass 245", "glass 255"))
sys.exit(0 if black and np.abs(means["tissue"] - tissue.mean((0, 1))).max() < 2 else 1)
PYTHON
