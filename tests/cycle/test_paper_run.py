"""A configuration of the paper from end to end, with small images, networks and numbers of steps."""

import functools
import pathlib
import re

import keras
import numpy as np

from cyclic.activation import activation_map
from cyclic.backbones import build_backbone
from cyclic.config import load_config
from cyclic.cycle import loop
from cyclic.cycle.stages import maps
from cyclic.datasets.layouts import open_dataset
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.datasets.tile_cutting import cut_tiles
from cyclic.images import read_image, read_map
from cyclic.label_maps import read_label_map
from cyclic.mrcnn.weights import h5
from cyclic.pseudo.masks import load_pseudo_masks
from cyclic.pseudo.select import pseudo_masks_of_one_image
from cyclic.trained import load_mask_rcnn

# With this seed the larger logit is over 0 from the start, as training makes it: of a logit below 0, all relevance is
# negative, and the map empty.
SEED = 5
CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
# What makes it small; all that makes it the paper's stays.
SMALL = (
    "cycles=1", "scale=1", "tiles={size: 32, stride: 24}", "precision=float32",
    "classifier={hidden: 8, steps: 2, later_steps: 2, batch: 4}", "pseudo={min_area: 1}",
    "mask_rcnn={width: [16, 16, 16, 16], crop: 64, steps: 2, later_steps: 2, rpn_anchors: 16, rois: 8, proposals: 32}",
    "detection={tile: 64, overlap: 16, proposals: 32, max_instances: 8}",
)  # fmt: skip


def write_weights(path):
    """Weights of a ResNet-101 whose residual blocks add a little each, so that its features stay numbers."""
    keras.utils.set_random_seed(SEED)
    backbone = build_backbone("resnet101", "frozen")
    for layer in backbone.layers:
        if re.fullmatch(r"bn\w+_branch2c", layer.name):
            layer.gamma.assign(0.2 * np.ones(layer.gamma.shape))
    h5.save_weights(path, backbone)


def test_a_configuration_of_the_paper_runs_to_its_end(tmp_path, monkeypatch):
    """That of CoNSeP, on a ResNet-101: its classifier learns on tiles of another data set."""
    # Relevance of windows of 256 pixels takes most of the time.
    monkeypatch.setattr(maps, "activation_map", functools.partial(activation_map, tile=96, overlap=0))
    write_tissue_set(tmp_path / "data", 1, 1, size=96)
    write_tissue_set(tmp_path / "other", 1, 0, size=128, seed=1)
    cut_tiles(open_dataset(tmp_path / "other", "train"), tmp_path / "tiles", size=32, stride=24, seed=0)
    write_weights(tmp_path / "resnet101.h5")
    own = (f"seed={SEED}", f"backbone.weights={tmp_path / 'resnet101.h5'}", f"tiles.folder={tmp_path / 'tiles'}")
    config = load_config(CONFIGS / "consep_paper.yaml", (*SMALL, *own))
    assert config.backbone.name == "resnet101"
    rows = loop.train(config, tmp_path / "data", tmp_path / "run")
    # After two steps there may be no detection that is sure, and so no size.
    sources = [row["source"] for row in rows if row["source"] != "sizes"]
    assert sources == ["no_label_baseline", "map", "pseudo_masks", "model"]
    activation = read_map(tmp_path / "run/cycle_1/maps/train_000.png")
    image = read_image(tmp_path / "data/images/train_000.png")
    masks = load_pseudo_masks(tmp_path / "run/cycle_1/pseudo", "train_000").labels
    assert masks.any() and activation.max() > 0
    np.testing.assert_array_equal(masks, pseudo_masks_of_one_image(image, activation, config).labels)
    _, stored = load_mask_rcnn(tmp_path / "run/best.weights.h5")
    assert stored.maps.method == "lrp_composite"
    assert read_label_map(tmp_path / "run/cycle_1/round_0/predictions/val_000.tif").shape == (96, 96)
