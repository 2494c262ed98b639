"""Compare maps that know no instance label: how well do they show nuclei, and what do they teach a Mask R-CNN?

| map | comes from |
| --- | --- |
| evidence | this package's classifier: what each position says |
| gradcam, gradcampp, layercam, lrp_composite | a classifier with average pooling, on the same tiles for as many steps |
| scale_attention | no label: which pixels tell the magnification, see `scale_attention.py` |
| hematoxylin | no label and no training: the stain |

All maps are of the same images, and are cut into instances in the same way: thresholds around Otsu's, a watershed, and
the best components first. Each is scored on val by itself. With --round, the best components of the training images
are the pseudo masks of one Mask R-CNN each, which begins from the same random weights and trains for `mask_rcnn.steps`.

The same command goes on after a stop. It refuses results that another commit or other settings began. Instance labels
of val are read for scores, and those of training images for yes or no to a tile, as in every run.

Example:
    python studies/image_level_maps.py --on configs/monusac_cpu.yaml ../shared/data/monuseg \\
        --on configs/consep_cpu.yaml data/consep --out runs/image_level_maps --json FILE --round
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import run_list
import scale_attention

from cyclic.activation import activation_map
from cyclic.config import RunConfig, load_config, merge_overrides
from cyclic.cycle.loop import train
from cyclic.cycle.schedule import Schedule
from cyclic.cycle.stages.mask_rcnn import fit
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.layouts import open_splits
from cyclic.errors import InputError
from cyclic.evaluation.auc import mean_auc
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import atomic_path, read_json, write_image, write_json
from cyclic.images import read_map
from cyclic.inference.detect import detect, drop_unsure
from cyclic.label_maps import read_label_map, write_label_map
from cyclic.mrcnn.weights import h5
from cyclic.networks import Models, precision
from cyclic.pseudo.candidates import Candidates, components_over_levels
from cyclic.pseudo.fill import fill_centres
from cyclic.pseudo.recipe import RECIPES
from cyclic.pseudo.select import run_cut, select_pseudo_masks
from cyclic.runs.directory import RunDirectory
from cyclic.runs.paths import RunPaths
from cyclic.runs.progress import Progress
from cyclic.runs.training_progress import TrainingProgress
from cyclic.semi.dataset import PseudoDataset
from cyclic.stain import hematoxylin_map
from cyclic.trained import load_classifier

# The settings of the classifier that a map explains, and the level: that of the finest map with features of tissue for
# class activation, and the paper's for relevance.
LOCAL, POOLED = "local", "pooled"
CLASSIFIERS = {
    LOCAL: (),
    POOLED: ("classifier.levels=[C3, C5]", "classifier.share=1", "classifier.feedback=false",
             "maps.method=gradcam", "maps.level=C3"),
}  # fmt: skip
EXPLAINED = {
    "evidence": (LOCAL, "C2"),
    "gradcam": (POOLED, "C3"),
    "gradcampp": (POOLED, "C3"),
    "layercam": (POOLED, "C3"),
    "lrp_composite": (POOLED, "C5"),
}
METHODS = (*EXPLAINED, "scale_attention", "hematoxylin")
SCORES = ("aji", "dice", "pq")
# How every map is cut: as the stain's is by itself.
CUT = dataclasses.replace(RECIPES["stain"], source="activation")
CODE = (*run_list.CODE, "studies")


@dataclass(frozen=True)
class Comparison:
    """The maps of one data set.

    Attributes:
        config: settings of classifier, cut and Mask R-CNN.
        data: folder of the data set.
        out: folder of all that is made.
        attention_steps: training steps of the scale attention.
    """

    config: RunConfig
    data: Path
    out: Path
    attention_steps: int

    def begin(self) -> None:
        """Remember the settings, or compare them with those that the folder's results were begun with.

        Raises:
            InputError: they are others, or there are no val images.
        """
        path, settings = self.out / "settings.json", self.config.model_dump(mode="json")
        given = {"data": str(self.data.resolve()), "images": [images.ids for images in self.splits], "config": settings}
        if path.is_file() and read_json(path) != given:
            raise InputError(f"{path}: other settings or images than now; give another --out")
        write_json(path, given)
        # What is built in this process has the number format of what was built in the one before.
        keras.config.set_dtype_policy(precision(self.config))

    @cached_property
    def splits(self) -> tuple[NucleiDataset, NucleiDataset]:
        """The training and the val images.

        Raises:
            InputError: there are no val images.
        """
        train_set, val_set = open_splits(self.data)
        if val_set is None:
            raise InputError(f"{self.data}: no val images to score on; name some in split.json")
        return train_set, val_set

    def classifier(self, kind: str) -> keras.Model:
        """Return a trained classifier; both learn on the same tiles."""
        own, tiles = CLASSIFIERS[kind], []
        if kind != LOCAL:
            self.classifier(LOCAL)
            folder = self.config.tiles.folder or RunPaths(self.out / LOCAL).tiles
            tiles = [f"tiles.folder={folder}", "tiles.answers=null"]
        config, run = merge_overrides(self.config, [*own, *tiles, "cycles=1"]), self.out / kind
        weights = RunPaths(run).cycle(1).classifier
        if not weights.is_file():
            train(config, self.data, run, resume=RunDirectory.holds_run(run), until="classifier")
        return load_classifier(weights, config)

    def attention(self) -> keras.Model:
        """Return the trained network of marks."""
        path, config = self.out / f"scale_attention_{self.attention_steps}.weights.h5", self.config
        if path.is_file():
            attention = scale_attention.build_attention(config.mean_pixel)
            h5.load_weights(path, attention)
            return attention
        images = [self.splits[0].image(name) for name in self.splits[0].ids]
        patches = scale_attention.Patches(images, self.attention_steps, seed=config.seed)
        with Progress() as progress:
            callback = TrainingProgress(progress, "scale_attention", self.attention_steps)
            attention = scale_attention.train_attention(patches, config.mean_pixel, [callback])
        h5.save_weights(path, attention)
        return attention

    def mapper(self, method: str) -> Callable[[np.ndarray], np.ndarray]:
        """Return what gives the map `[H, W]` float32 in [0, 1] of an image, and train what it needs."""
        if method == "hematoxylin":
            return hematoxylin_map
        if method == "scale_attention":
            attention = self.attention()
            return lambda image: scale_attention.attention_map(attention, image)
        (kind, level), config = EXPLAINED[method], self.config
        classifier = self.classifier(kind)
        how = {"method": method, "level": level, "scale": config.scale, "context": config.tiles.size}
        return lambda image: activation_map(classifier, image, config.mean_pixel, **how)

    def folder(self, method: str) -> Path:
        """Return the folder of what comes of a map."""
        return self.out / (method if method != "scale_attention" else f"{method}_{self.attention_steps}")

    def maps(self, method: str, images: NucleiDataset) -> Iterator[tuple[str, np.ndarray]]:
        """Yield id and map, `[H, W]` float32 in [0, 1], of images; those that are not there yet are made."""
        paths = {name: self.folder(method) / "maps" / f"{name}.png" for name in images.ids}
        missing = [name for name, path in paths.items() if not path.is_file()]
        if missing:
            make = self.mapper(method)
            with Progress() as progress:
                for name in progress.track(missing, f"{method}/maps"):
                    write_image(paths[name], np.round(make(images.image(name)) * 255).astype(np.uint8))
        for name, path in paths.items():
            yield name, read_map(path)

    def candidates(self, activation: np.ndarray) -> Candidates:
        """Return the instances of a map, see `CUT`."""
        settings, source = self.config.pseudo, fill_centres(activation, CUT.max_hole)
        limits = settings.min_area, settings.max_area
        return Candidates(source, *components_over_levels([source], CUT, settings.factors, *limits))

    def scores_of_map(self, method: str) -> dict[str, float]:
        """Return the AUC of a map on val, and the scores of its instances."""
        val, areas, rows = self.splits[1], [], []
        for name, activation in self.maps(method, val):
            true = val.label_map(name)
            areas.append((activation, true))
            rows.append(evaluate_pair(true, self.candidates(activation).labels))
        return {"auc": mean_auc(areas), **_means(rows)}

    def scores_of_round(self, method: str) -> dict[str, float | None]:
        """Return the scores on val of the Mask R-CNN that learnt from a map; None where the map gave no pseudo mask."""
        val = self.splits[1]
        paths = {name: self.folder(method) / "predictions" / f"{name}.tif" for name in val.ids}
        if not all(path.is_file() for path in paths.values()):
            if not self._train(method):
                return {f"round_{score}": None for score in SCORES}
            settings, scale = self.config.detection, self.config.scale
            with Progress() as progress:
                for name in progress.track(val.ids, f"{method}/detect"):
                    found = detect(self.models.detector, val.image(name), settings, scale)
                    write_label_map(paths[name], drop_unsure(*found, settings.score)[0])
        rows = [evaluate_pair(val.label_map(name), read_label_map(path)) for name, path in paths.items()]
        return {f"round_{score}": value for score, value in _means(rows).items()}

    @cached_property
    def models(self) -> Models:
        """The networks, built once; every Mask R-CNN begins from the weights in `start.weights.h5`."""
        models = Models(self.config)
        if not (self.out / "start.weights.h5").is_file():
            models.save_mask_rcnn(self.out / "start.weights.h5")
        return models

    def _train(self, method: str) -> bool:
        """Train the Mask R-CNN of a map, or load it; False where the map gives no pseudo mask."""
        weights, images = self.folder(method) / "model.weights.h5", self.splits[0]
        if weights.is_file():
            self.models.load(weights)
            return True
        candidates = {name: self.candidates(activation) for name, activation in self.maps(method, images)}
        cut = run_cut(self.config, [each.scores.confidence for each in candidates.values()])
        pseudo = {name: select_pseudo_masks(each, self.config, cut) for name, each in candidates.items()}
        if not any(len(masks.confidence) for masks in pseudo.values()):
            return False
        data = PseudoDataset({name: images.image(name) for name in images.ids}, pseudo, images.even_ids)
        training, seed = Schedule(self.config).mask_rcnn(1, 0), self.config.seed
        self.models.load(self.out / "start.weights.h5")
        keras.utils.set_random_seed(seed)
        with Progress() as progress:
            callback = TrainingProgress(progress, f"{method}/train", training.steps)
            fit(self.models, self.config, training, data, seed, [callback])
        self.models.save_mask_rcnn(weights)
        return True


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {score: float(np.mean([row[score] for row in rows])) for score in SCORES}


def table(sets: dict[str, list[dict]]) -> str:
    """Return the rows of all data sets as a Markdown table."""
    columns = list(next(iter(sets.values()))[0])
    lines = [["data", *columns], ["---"] * (len(columns) + 1)]
    for name, rows in sets.items():
        lines += [[name, *(f"{value:.3f}" if isinstance(value, float) else str(value or "") for value in row.values())]
                  for row in rows]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def compare(options: argparse.Namespace) -> dict:
    """Make what is missing, and return what is written to the file.

    Raises:
        InputError: bad input, or results of another commit or other settings in the folder.
    """
    if options.attention_steps < 1:
        raise InputError(f"--attention-steps {options.attention_steps}: give 1 or more")
    note = options.out / "commit"
    commit = run_list.commit_of(options.out, note, note.is_file(), CODE)
    with atomic_path(note) as temporary:
        temporary.write_text(f"{commit}\n")
    sets: dict[str, list[dict]] = {}
    for path, data in options.on:
        name, config = Path(path).stem, load_config(path, options.overrides)
        if name in sets:
            raise InputError(f"--on {path}: {name} stands twice; give each data set a configuration of its own name")
        work = Comparison(config, Path(data), options.out / name, options.attention_steps)
        work.begin()
        sets[name] = []
        for method in options.methods:
            row = {"map": method, **work.scores_of_map(method)}
            sets[name].append(row | (work.scores_of_round(method) if options.round else {}))
    settings = {"set": options.overrides, "attention_steps": options.attention_steps}
    return {"commit": commit, **settings, "sets": sets}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", nargs=2, action="append", required=True, metavar=("CONFIG", "DATA"))
    parser.add_argument("--out", type=Path, required=True, help="folder of maps and networks")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--round", action="store_true", help="also train a Mask R-CNN on the pseudo masks of each map")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="these maps alone")
    parser.add_argument("--attention-steps", type=int, default=2000, help="steps of the scale attention (2000)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="a setting, as cyclic train")
    options = parser.parse_args()
    try:
        found = compare(options)
        print(table(found["sets"]))
        if options.json:
            write_json(options.json, found)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
