"""Make the finished model of a run one that the package ships: small weights, and a card that says what it is.

Weights become float16. Where that is larger than 20 MB, large kernels become int8. With --data the AJI on val of both
files is measured, and stands in the card.

Example:
    python scripts/ship_model.py runs/he --name he-nuclei --licence "CC BY-NC-SA 4.0" --data ../shared/data/monuseg \
        --trained-on "12 images of MoNuSeg (Kumar et al. 2017), normalised stain"

Exit code 0: written, 2: wrong use or bad input.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from cyclic.errors import InputError
from cyclic.files import atomic_path, digest, read_json
from cyclic.models.card import make_card
from cyclic.models.registry import SHIPPED
from cyclic.runs.directory import read_events, read_run_config
from cyclic.runs.paths import RunPaths
from cyclic.trained import store_detection

MOST_BYTES = 20_000_000
SCORES = ("aji", "aji_plus", "dice", "pq", "f1")
LIMITS = (
    "For research, not for diagnosis.",
    "For H&E alone. Scores differ from lab to lab.",
    "Settings were chosen with val scores in view, so those scores are no test.",
)


def write_small(source: Path, target: Path, most_bytes: int = MOST_BYTES) -> str:
    """Write the weights as float16, or int8 where that is too large, and return which.

    Raises:
        InputError: they are too large either way.
    """
    from cyclic.mrcnn.weights.compact import write_compact

    with tempfile.TemporaryDirectory() as folder:
        for kind in ("half", "int8"):
            small = Path(folder) / f"{kind}.h5"
            write_compact(source, small, kind)
            if small.stat().st_size <= most_bytes:
                with atomic_path(target) as temporary:
                    shutil.copyfile(small, temporary)
                return kind
        raise InputError(f"{source}: {small.stat().st_size} bytes as int8, over {most_bytes}; train a smaller model")


def val_aji(weights: Path, data: Path, overrides: list[str]) -> float:
    """Return the mean AJI of a model, with settings of detection of one's own, on the val images of a data set."""
    from cyclic.datasets.layouts import open_splits
    from cyclic.evaluation.metrics import evaluate
    from cyclic.inference.predictor import Predictor

    _, val = open_splits(data)
    if val is None:
        raise InputError(f"{data}: no val images to measure on; give a data set with a split")
    predictor = Predictor.load(weights, overrides)
    found = [evaluate(predictor.predict(val.image(n), predictor.config.mpp).labels, val.label_map(n)) for n in val.ids]
    return float(np.mean([scores["aji"] for scores in found]))


def about(run: RunPaths, trained_on: str) -> dict:
    """Return what the run itself tells: its images, answers, and scores on val."""
    rows = [row for row in read_json(run.metrics)["rows"] if row["source"] == "model"]
    tiles = [event for event in read_events(run.log) if event["event"] == "tiles"]
    answers = {name: tiles[-1][name] for name in ("positive", "negative")} if tiles else None
    return {
        "trained_on": trained_on,
        "images": len(read_json(run.data)["train"]),
        "answers": answers,
        "cycles": read_run_config(run.root).cycles,
        "val": {name: round(rows[-1][name], 4) for name in SCORES if rows and rows[-1].get(name) is not None},
        "limits": list(LIMITS),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run directory of a finished run")
    parser.add_argument("--name", required=True, help="what the model is called")
    parser.add_argument("--licence", required=True, help="of the weights; that of the training images may bind them")
    parser.add_argument("--trained-on", required=True, help="the training images, with their source")
    parser.add_argument("--data", type=Path, help="data set with val images: measure the loss of AJI")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder; default: that of the package")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", help="detection.key=value to store instead of the run's"
    )
    given = parser.parse_args(arguments)
    try:
        run, target = RunPaths(given.run), given.out / f"{given.name}.h5"
        told = about(run, given.trained_on)
        told["encoding"] = write_small(run.best, target)
        if given.overrides:
            store_detection(target, given.overrides)
            told["detection"] = given.overrides
        if given.data is not None:
            files = {"full": run.best, told["encoding"]: target}
            told["val_aji"] = {kind: val_aji(file, given.data, given.overrides) for kind, file in files.items()}
        card = make_card(
            name=given.name,
            source=target.name,
            sha256=digest(target),
            licence=given.licence,
            mpp=read_run_config(given.run).mpp,
            about=told,
        )
        with atomic_path(target.with_suffix(".json")) as temporary:
            temporary.write_text(card.as_json(), encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(card.as_json(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
