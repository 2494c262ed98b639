"""Does another commit train to the same bits? Run two small trainings in both and compare every array.

Two recipes run at demo size on synthetic tissue, seed 0, first as COMMIT has them, then as this checkout has them.
Compared are all weights, label maps, activation maps, ignored regions and scores. On one machine they must be equal
to the bit; two machines may differ in the last digits.

Example:
    python studies/pinned_run.py c12dfd9 --out runs/pinned      # about 20 minutes on two cores; goes on where it was

Exit code 0: all equal, 1: something differs.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import tifffile
from PIL import Image

from cyclic.networks import CLASSIFIER

ROOT = Path(__file__).resolve().parents[1]
RECIPES = {path.stem: path for path in sorted((ROOT / "studies" / "pinned").glob("*.yaml"))}


def digest_run(run: Path) -> dict[str, str]:
    """Return `{name: digest}` of every array that a run directory holds, and its scores."""
    digests = {str(path.relative_to(run)): _digest(_weights(path)) for path in sorted(run.rglob("*.weights.h5"))}
    for path in sorted(run.rglob("*.tif")):
        digests[str(path.relative_to(run))] = _digest([tifffile.imread(path).astype(np.int64)])
    for path in sorted([*run.rglob("maps/*.png"), *run.rglob("ignore/*.png")]):
        digests[str(path.relative_to(run))] = _digest([np.asarray(Image.open(path))])
    # Of maps and sizes earlier commits have no scores, and what they are computed from is compared itself.
    rows = json.loads((run / "metrics.json").read_text())["rows"]
    rows = [row for row in rows if row["source"] not in ("map", "sizes")]
    return digests | {f"scores {number}": json.dumps(row, sort_keys=True) for number, row in enumerate(rows)}


def _weights(path: Path) -> Iterator[np.ndarray]:
    """Yield the arrays of a weights file by layer and name, wherever in the file they lie.

    The tile classifier in `best.weights.h5` is left out: earlier files have none, and the run's own file holds it.
    """
    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith(f"{CLASSIFIER}/"):
            arrays["/".join(name.split("/")[-2:])] = item[()]

    with h5py.File(path) as file:
        file.visititems(collect)
    for name in sorted(arrays):
        yield np.frombuffer(name.encode(), np.uint8)
        yield arrays[name]


def _digest(arrays) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def train(checkout: Path, config: Path, data: Path, run: Path) -> None:
    """Train in a checkout, unless its run is finished."""
    if (run / "best.weights.h5").is_file():
        return
    command = [sys.executable, "-W", "ignore", "-m", "cyclic.cli", "train", "--config", config, "--data", data]
    resume = ["--resume"] if (run / "config.yaml").is_file() else []
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([*map(str, command), "--out", str(run), *resume], check=True, cwd=checkout, env=environment)


def main() -> int:
    """Run both commits and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="the commit to compare this checkout with")
    parser.add_argument("--out", type=Path, required=True, help="folder for data, checkout and runs")
    options = parser.parse_args()
    out, before = options.out.resolve(), options.out.resolve() / "checkout"
    if not before.is_dir():
        command = ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(before), options.commit]
        subprocess.run(command, check=True)
    data = out / "data"
    if not (data / "split.json").is_file():
        from cyclic.datasets.synthetic import write_tissue_set

        write_tissue_set(data)
    different = False
    for recipe, config in RECIPES.items():
        runs = [out / f"{recipe}_before", out / f"{recipe}_after"]
        for checkout, run in zip((before, ROOT), runs, strict=True):
            train(checkout, config, data, run)
        first, second = map(digest_run, runs)
        unequal = [name for name in {**first, **second} if first.get(name) != second.get(name)]
        different |= bool(unequal)
        print(f"{recipe}: {len(first)} compared, {len(unequal)} differ", *unequal[:10], sep="\n  ")
    return int(different)


if __name__ == "__main__":
    sys.exit(main())
