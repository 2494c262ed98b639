"""A finished run as files, drawn rather than trained: what the report reads."""

import json

import numpy as np
import yaml
from skimage.segmentation import expand_labels

from cyclic.config import RunConfig
from cyclic.datasets.monusac import MonusacDataset
from cyclic.evaluation.auc import mean_auc
from cyclic.evaluation.metrics import evaluate_pair
from cyclic.files import write_image, write_json
from cyclic.images import read_map
from cyclic.label_maps import write_label_map
from cyclic.pseudo.masks import PseudoMasks, save_pseudo_masks
from cyclic.runs.paths import RunPaths

REPORTED = ("aji", "aji_plus", "dice", "dice2", "dq", "sq", "pq", "f1", "foreground_iou")
LOSSES = ("loss", "rpn_class_loss", "rpn_bbox_loss", "mrcnn_class_loss", "mrcnn_bbox_loss", "mrcnn_mask_loss")


def imperfect(true, rng, lost):
    """Return `true` without a share of its nuclei, the others a pixel too large and first, then three false ones."""
    labels = np.unique(true[true > 0])
    kept = rng.permutation(labels)[: max(1, round(len(labels) * (1 - lost)))]
    renumbered = np.zeros(true.max() + 1, np.int32)
    renumbered[kept] = np.arange(1, len(kept) + 1)
    labels = expand_labels(renumbered[true], 1)
    for label in range(len(kept) + 1, len(kept) + 4):
        y, x = rng.integers(0, np.array(true.shape) - 12)
        box = labels[y : y + 12, x : x + 12]
        box[box == 0] = label
    return labels


def write_run(run, data, cycles=2, students=1):
    """Write the files of a finished run on the data set in `data`; each round finds more nuclei than the last."""
    rng = np.random.default_rng(0)
    train, val = MonusacDataset(data, "train"), MonusacDataset(data, "val")
    truths = {name: dataset.label_map(name) for dataset in (train, val) for name in dataset.ids}
    config = RunConfig(cycles=cycles, seed=3, rounds={"students": students}).model_dump(mode="json")
    run.mkdir()
    RunPaths(run).config.write_text(yaml.safe_dump(config, sort_keys=False))
    rows, keys, events = [], ["tiles", "baseline"], []

    def add(source, cycle, round_, labels):
        pairs = [evaluate_pair(truths[name], labels[name]) for name in val.ids]
        means = {metric: float(np.mean([pair[metric] for pair in pairs])) for metric in REPORTED}
        rows.append({"source": source, "cycle": cycle, "round": round_, "split": "val", **means})

    add("no_label_baseline", 0, 0, {name: imperfect(truths[name], rng, 0.6) for name in val.ids})
    for cycle in range(1, cycles + 1):
        here = RunPaths(run).cycle(cycle)
        pseudo = {name: imperfect(true, rng, 0.7) for name, true in truths.items()}
        for name, labels in pseudo.items():
            soft = np.clip(expand_labels(labels, 4) > 0, 0.1, 0.9) * 255
            write_image(here.map(name), soft.astype(np.uint8))
            ignore = (truths[name] > 0) & (labels == 0)
            confidence = np.linspace(0.9, 0.4, labels.max()).astype(np.float32)
            save_pseudo_masks(here.pseudo(), name, PseudoMasks(labels, confidence, ignore))
        area = mean_auc((read_map(here.map(name)), truths[name]) for name in val.ids)
        rows.append({"source": "map", "cycle": cycle, "split": "val", "auc": area})
        add("pseudo_masks", cycle, 0, pseudo)
        events.append(
            {"event": "classifier", "cycle": cycle, "accuracy": 0.9, "f1": 0.9, "losses": [0.6 / cycle, 0.4, 0.3]}
        )
        keys += [f"cycle_{cycle}/{stage}" for stage in ("classifier", "maps", "map_scores", "pseudo", "pseudo_scores")]
        for round_ in range(students + 1):
            lost = 0.5 - 0.1 * (2 * cycle + round_ - 2)
            names = val.ids if (cycle, round_) == (cycles, students) else list(truths)
            predicted = {name: imperfect(truths[name], rng, lost) for name in names}
            for name, labels in predicted.items():
                write_label_map(here.round(round_).prediction(name), labels)
            add("model", cycle, round_, predicted)
            losses = {name: [2.0 / cycle, 1.5 / cycle, (1.2 - 0.2 * round_) / cycle] for name in LOSSES}
            events.append({"event": "mask_rcnn", "cycle": cycle, "round": round_, "losses": losses})
            keys += [f"cycle_{cycle}/round_{round_}/{stage}" for stage in ("train", "detect", "scores")]
    keys.append("finish")
    seconds = {key: float(3 * index) for index, key in enumerate(keys, 1)}
    write_json(RunPaths(run).state, {"finished": keys, "seconds": seconds})
    write_json(RunPaths(run).metrics, {"rows": rows, "seed": 3, "wall_s": seconds})
    ends = [{"event": "stage_end", "stage": key, "seconds": spent} for key, spent in seconds.items()]
    stages = [{"event": "stage_start", "stage": keys[-1]}, *ends]
    lines = [json.dumps({"time": "2025-01-02T03:04:05.678+00:00", **event}) + "\n" for event in [*events, *stages]]
    RunPaths(run).log.write_text("".join(lines))
