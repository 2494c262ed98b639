"""Run the code cells of Matterport's notebooks with other import lines, and count how many run.

Nothing but import lines is changed in notebooks and samples, and lines of IPython such as `%matplotlib inline` are left
out. They find images and weights where they look for them: a few drawn images in the layout that each sample reads, and
random weights, drawn so that every image has detections.

Example:
    python studies/matterport_notebooks.py CHECKOUT --data DIR --json notebooks.json

CHECKOUT is a copy of Matterport's repository. What is run lies in DIR, which is written anew.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import sys
import traceback
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")

import keras
import matplotlib.pyplot as plt
import numpy as np

from cyclic.errors import InputError
from cyclic.files import write_json
from cyclic.mrcnn.layers.network import Network
from cyclic.mrcnn.weights import h5

NOTEBOOKS = (
    "nucleus/inspect_nucleus_data",
    "nucleus/inspect_nucleus_model",
    "balloon/inspect_balloon_data",
    "balloon/inspect_balloon_model",
    "coco/inspect_weights",
)
LOAD_IMGAUG = "from cyclic.datasets.augment import load_imgaug"
IMPORTS = (
    (r"^(\s*)from mrcnn\b", r"\1from cyclic.mrcnn"),
    (r"^(\s*)import mrcnn\b", r"\1import cyclic.mrcnn"),
    (
        r"^from imgaug import augmenters as iaa\b.*",
        "from cyclic.datasets.augment import load_imgaug; iaa = load_imgaug()",
    ),
    (r"^import imgaug\b.*", "from cyclic.datasets.augment import load_imgaug; load_imgaug(); import imgaug"),
    (r"^%.*", ""),
)
# Where the notebooks look for weights, and the sample's class of settings that the weights fit.
WEIGHTS = {
    "nucleus": ("nucleus.NucleusConfig", "logs/nucleus20200101T0000/mask_rcnn_nucleus_0001.h5"),
    "balloon": ("balloon.BalloonConfig", "logs/balloon20200101T0000/mask_rcnn_balloon_0001.h5"),
    "coco": ("coco.CocoConfig", "mask_rcnn_coco.h5"),
}
# An image that a notebook asks for by its name in the competition.
NAMED_NUCLEUS = "ed5be4b63e9506ad64660dd92a098ffcc0325195298c13c815a73773f1efc279"


def adapt(source: str) -> str:
    """Return Python source with cyclic's import lines in place of Matterport's, and without lines of IPython.

    >>> adapt("import mrcnn.model as modellib\\n%matplotlib inline\\nmodel = 1")
    'import cyclic.mrcnn.model as modellib\\n\\nmodel = 1'
    """
    for pattern, replacement in IMPORTS:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    return source


def code_cells(notebook: Path) -> list[str]:
    """Return the source of each code cell that is not empty."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    return [source for source in sources if source.strip()]


# --- what the notebooks read ---


def drawn_image(rng: np.random.Generator, height: int, width: int, radius: int):
    """Return a picture `[H, W, 3]` uint8 of bright discs on a dark ground, and the centres (y, x) of the discs."""
    image = rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
    step = 3 * radius
    centres = [(y, x) for y in range(step // 2, height - radius, step) for x in range(step // 2, width - radius, step)]
    centres = [centres[index] for index in rng.permutation(len(centres))[:12]]
    for y, x in centres:
        cv2.circle(image, (x, y), radius, (200, 180, 190), -1)
    return image, centres


def draw_nuclei(checkout: Path, folder: Path) -> None:
    """Write images with their masks in the layout of the 2018 Data Science Bowl; all that validate are there."""
    rng = np.random.default_rng(0)
    validation = re.findall(r'"([0-9a-f]{64})"', (checkout / "samples/nucleus/nucleus.py").read_text())
    # The notebook divides the images into three classes of size and takes for granted that none is empty.
    sizes = {NAMED_NUCLEUS: (128, 160)} | {f"{index:064x}": (128 << index, 192 << index) for index in range(3)}
    for name, (height, width) in {**dict.fromkeys(validation, (128, 160)), **sizes}.items():
        image, centres = drawn_image(rng, height, width, radius=8)
        for kind in ("images", "masks"):
            (folder / name / kind).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "images" / f"{name}.png"), image)
        for index, (y, x) in enumerate(centres):
            mask = np.zeros((height, width), np.uint8)
            cv2.ellipse(mask, (x, y), (8, 6 + index % 3), 0, 0, 360, 255, -1)
            cv2.imwrite(str(folder / name / "masks" / f"{index}.png"), mask)


def draw_balloons(folder: Path) -> None:
    """Write images with their outlines in the layout of the VGG Image Annotator."""
    rng = np.random.default_rng(1)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for subset, count in (("train", 4), ("val", 2)):
        (folder / subset).mkdir(parents=True)
        annotations = {}
        for index in range(count):
            image, centres = drawn_image(rng, 300, 400, radius=40)
            cv2.imwrite(str(folder / subset / f"{index}.jpg"), image)
            outlines = [
                {
                    "name": "polygon",
                    "all_points_x": np.int64(x + 40 * np.cos(angles)).tolist(),
                    "all_points_y": np.int64(y + 40 * np.sin(angles)).tolist(),
                }
                for y, x in centres[:4]
            ]
            regions = {str(key): {"shape_attributes": outline} for key, outline in enumerate(outlines)}
            annotations[f"{index}.jpg"] = {"filename": f"{index}.jpg", "regions": regions}
        (folder / subset / "via_region_data.json").write_text(json.dumps(annotations))


def write_weights(config, path: Path) -> None:
    """Write random weights of which no value grows without end, and with which each image has some sure detections."""
    network = Network(config)
    layers = h5.leaf_layers(network)
    for name, layer in layers.items():
        if re.fullmatch(r"bn.*2c", name):
            layer.gamma.assign(layer.gamma * 0.2)
    for name in ("rpn_bbox_pred", "mrcnn_bbox_fc", "mrcnn_class_logits"):
        layers[name].kernel.assign(layers[name].kernel * 0)
    # Proposals eleven times as large as their anchors, so that few are left after the suppression.
    layers["rpn_bbox_pred"].bias.assign(np.tile([0.0, 0.0, 12.0, 12.0], len(config.RPN_ANCHOR_RATIOS)))
    layers["mrcnn_class_logits"].bias.assign(np.eye(config.NUM_CLASSES)[1] * 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    h5.save_weights(path, network)


def prepare(checkout: Path, root: Path) -> None:
    """Write samples, images and weights to `root`, as they lie in a checkout that is in use."""
    for sample in WEIGHTS:
        source = checkout / "samples" / sample / f"{sample}.py"
        if not source.is_file():
            raise InputError(f"{source}: no such file; give the folder of Matterport's repository")
        target = root / "samples" / sample / source.name
        target.parent.mkdir(parents=True)
        target.write_text(adapt(source.read_text()))
    draw_nuclei(checkout, root / "datasets/nucleus/stage1_train")
    draw_balloons(root / "datasets/balloon")


# --- running ---


@contextlib.contextmanager
def in_folder(folder: Path, root: Path):
    """Work in `folder` as a notebook does: it and the root can be imported from."""
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(root)]
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


def run_cells(cells: list[str], names: dict) -> list[dict]:
    """Run cells one after the other in `names`, and return number and error of those that fail."""
    failed = []
    for number, source in enumerate(cells):
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(adapt(source), f"cell {number}", "exec"), names)
        # Whatever a cell raises is what is counted.
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(line.filename).name}:{line.lineno}"
            failed.append({"cell": number, "error": f"{type(error).__name__}: {error}"[:300], "at": place})
        plt.close("all")
    return failed


def run_notebook(checkout: Path, root: Path, name: str) -> dict:
    """Run a notebook, and return how many cells it has, how many ran, and the errors of the others."""
    sample = name.partition("/")[0]
    cells = code_cells(checkout / "samples" / f"{name}.ipynb")
    with in_folder(root / "samples" / sample, root):
        config, weights = WEIGHTS[sample]
        if not (root / weights).exists():
            names: dict = {}
            exec(f"import {sample}\nconfig = {config}()", names)
            write_weights(names["config"], root / weights)
        failed = run_cells(cells, {"__name__": "__main__"})
    keras.backend.clear_session()
    return {"cells": len(cells), "ran": len(cells) - len(failed), "failed": failed}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a copy of Matterport's repository, with its samples")
    parser.add_argument("--data", type=Path, required=True, help="folder to write images and weights to, anew")
    parser.add_argument("--only", choices=NOTEBOOKS, nargs="+", default=NOTEBOOKS, help="run these notebooks alone")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    options = parser.parse_args()
    checkout, root = options.checkout.resolve(), options.data.resolve() / "matterport"
    try:
        shutil.rmtree(root, ignore_errors=True)
        prepare(checkout, root)
        counts = {name: run_notebook(checkout, root, name) for name in options.only}
    except (InputError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(counts, indent=1))
    if options.json:
        write_json(options.json, counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
