"""Adapt a model to images of other labs, and score it before and after: from images alone, and with a few answers.

Each lab's split.json names images to learn from (train) and others that are scored (val). Answers are yes/no tiles of
the training images. In the annotator's place, `cut_tiles` gives them out of the label maps.

A run lies in OUT/LAB_images_seedN or OUT/LAB_answers_seedN. The same command goes on where it was.

Example:
    python studies/adapt_labs.py --on tnbc=TNBC --on consep=CONSEP --out runs/adapt --json FILE
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from collect import METRICS

from cyclic.datasets.layouts import open_dataset
from cyclic.datasets.tile_cutting import cut_tiles
from cyclic.errors import InputError
from cyclic.files import digest, read_json, write_json
from cyclic.models.registry import weights_file
from cyclic.runs.directory import RunDirectory
from cyclic.runs.paths import RunPaths
from cyclic.trained import stored_config

WAYS = ("images", "answers")


def named(text: str) -> tuple[str, Path]:
    """Return name and folder of `NAME=FOLDER`.

    Raises:
        InputError: it is written otherwise.
    """
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise InputError(f"--on {text}: write it as NAME=FOLDER")
    return name, Path(folder)


def answered_tiles(lab: Path, weights: Path, count: int, seed: int, out: Path) -> Path:
    """Cut `count` tiles of a lab's training images, sized as those that the model learnt from; return their folder."""
    tiles = stored_config(weights).tiles
    cut_tiles(open_dataset(lab, "train"), out, tiles.size, tiles.stride, seed=seed, count=count)
    return out


def adapt(lab: Path, weights: Path, out: Path, settings: list[str]) -> dict[str, dict[str, float] | float]:
    """Run `cyclic adapt`, or go on with it; return the scores on val before and after, and the seconds it took.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    goes_on = ["--resume"] if RunDirectory.holds_run(out) else []
    options = [part for setting in settings for part in ("--set", setting)]
    command = ["adapt", str(lab), "--weights", str(weights), "--out", str(out), *options, *goes_on]
    print("$", shlex.join(["cyclic", *command]), flush=True)
    subprocess.run([sys.executable, "-m", "cyclic.cli", *command], check=True)
    content = read_json(RunPaths(out).metrics)
    rows = [row for row in content["rows"] if row["source"] == "model" and row["split"] == "val"]
    before, after = ({metric: row[metric] for metric in METRICS} for row in (rows[0], rows[-1]))
    return {"before": before, "after": after, "wall_s": sum(content["wall_s"].values())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="he-nuclei", help="best.weights.h5, or a model's name (he-nuclei)")
    parser.add_argument("--on", action="append", required=True, metavar="NAME=FOLDER", help="a lab, with a split.json")
    parser.add_argument("--answers", type=int, default=100, help="answered tiles (100)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a setting, as cyclic adapt")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="from images alone, or with answers")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    try:
        weights, labs = weights_file(options.weights), dict(map(named, options.on))
        # {lab: {way: {seed: scores}}}
        found: dict[str, dict[str, dict]] = {name: {way: {} for way in options.ways} for name in labs}
        for seed in options.seeds:
            for name, folder in labs.items():
                for way in options.ways:
                    settings = [*options.overrides, f"seed={seed}"]
                    if way == "answers":
                        out = options.out / f"{name}_tiles_seed{seed}"
                        settings.append(f"tiles.folder={answered_tiles(folder, weights, options.answers, seed, out)}")
                    scores = adapt(folder, weights, options.out / f"{name}_{way}_seed{seed}", settings)
                    found[name][way][seed] = scores
                    print(f"{name}, {way}, seed {seed}: {scores}", flush=True)
        if options.json:
            about = {"weights": digest(weights), "answers": options.answers, "set": options.overrides}
            write_json(options.json, {**about, "labs": found})
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
