"""`RunConfig`: every setting of a run, typed and checked, with its default and its meaning.

The same class reads the YAML files in `configs/`, is saved beside a run's weights, and is the only place of defaults.
The defaults are the recommended recipe for two CPU cores; `docs/settings.md` is written from the descriptions here.
"""

import difflib
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import BeforeValidator, Field, PlainSerializer

from cyclic.errors import InputError
from cyclic.retired import fill_earlier_defaults, fixed_value, is_first_version, modernise

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
# What no network is larger than: sides in pixels, channels, and things of a picture or a step.
Side = Annotated[int, Field(ge=1, le=4096)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Colour = Annotated[float, Field(ge=0, le=255)]
Rate = Annotated[float, Field(gt=0, le=1)]
Level = Literal["C2", "C3", "C4", "C5"]
Optimizer = Literal["adamw", "sgd"]
# Public weights, and the normalisation that each backbone of theirs was trained with.
PUBLIC_WEIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "coco": {"resnet50": ("frozen", "batch"), "resnet101": ("frozen", "batch")},
    "imagenet": {"resnet50": ("frozen", "batch"), "resnet101": ("frozen", "batch"), "vgg16": ("frozen",)},
}
MapMethod = Literal[
    "evidence", "gradcam", "gradcampp", "layercam", "lrp_epsilon", "lrp_alphabeta", "lrp_composite"
]  # fmt: skip

# Of smaller tiles, or of tiles that lie nearer, an image has so many that its prediction does not end.
SMALLEST_TILE, SMALLEST_STEP = 16, 8
_NOTHING = object()
# Values of a configuration, its aliases written out. All settings of a run are about 90.
MOST_VALUES = 10_000
# The key of a configuration file that names the file below it.
BASE = "base"


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once, aliases stay small and numbers are plain; PyYAML by itself says nothing."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count_nodes(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return a number; one that PyYAML would read in eights (010) or sixties (1:30) is refused."""
        text = node.value.lstrip("+-")
        if ":" in text or (text.isdecimal() and len(text) > 1 and text[0] == "0"):
            problem = f"{node.value} is no plain number; write it without leading zeros or colons"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return self.construct_yaml_int(node) if node.tag.endswith(":int") else self.construct_yaml_float(node)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _Loader.construct_number)


def _count_nodes(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many values a node has once its aliases are written out.

    Raises:
        yaml.YAMLError: more than `MOST_VALUES`, or a node lies within itself.
    """
    if id(node) in counted:
        if counted[id(node)] == 0:  # still being counted
            raise yaml.constructor.ConstructorError(None, None, "an alias of what it lies in", node.start_mark)
        return counted[id(node)]
    counted[id(node)] = 0
    inner = node.value if isinstance(node, yaml.CollectionNode) else ()
    children = [child for each in inner for child in (each if isinstance(each, tuple) else (each,))]
    total = 1 + sum(_count_nodes(child, counted) for child in children)
    if total > MOST_VALUES:
        raise yaml.constructor.ConstructorError(None, None, f"more than {MOST_VALUES} values", node.start_mark)
    counted[id(node)] = total
    return total


def read_yaml(text: str) -> object:
    """Return what YAML says.

    Raises:
        yaml.YAMLError: it is no valid YAML, a key stands twice, its aliases grow too large, or a number is not plain.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML's constructors raise any for a value that is none of its tag's, or nested deep
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: object, info: pydantic.ValidationInfo) -> object:
        # Pydantic takes true for 1, and YAML takes "yes" for true.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value of this key")
        return value


class BackboneConfig(_Section):
    """The network that classifier and Mask R-CNN share."""

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "vgg16"] = Field(
        "resnet18", description="Architecture. resnet18 suits two CPU cores, resnet50 or resnet101 a GPU."
    )
    norm: Literal["batch", "frozen", "group"] = Field(
        "group",
        description="Normalisation layers. group works with any batch size, also from scratch. "
        "frozen keeps the statistics of loaded weights.",
    )
    weights: str | None = Field(
        None,
        description="Weights to start from, by layer name: coco or imagenet, which are downloaded once, or an h5 file. "
        "null starts from scratch.",
    )

    @property
    def public_weights(self) -> str | None:
        """The public weights to start from: "coco" or "imagenet"; None for a file of one's own, or none."""
        return self.weights if self.weights in PUBLIC_WEIGHTS else None


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _one_alone(values: list[str]) -> str | list[str]:
    """As a run of an earlier version wrote it, so that it goes on."""
    return values[0] if len(values) == 1 else values


class TilesConfig(_Section):
    """Tiles with yes/no answers: does this tile hold nuclei? Lengths in source pixels."""

    folder: str | None = Field(
        None, description="Folder with positive/ and negative/. null cuts tiles from labelled training images."
    )
    answers: (
        Annotated[list[str], Field(min_length=1), BeforeValidator(_as_list), PlainSerializer(_one_alone)] | None
    ) = Field(
        None,
        description="Files of yes/no answers for tiles of the training images, as cyclic label writes them: one, or of "
        "several data sets one each. `cyclic train --answers FILE` sets it, and the size with it.",
    )
    size: Side = Field(64, description="Side of a tile; set it to the side of your own tiles.")
    stride: Side = Field(48, description="Distance of positive tiles. Negative ones lie four times as dense.")
    count: Annotated[int, Field(ge=4)] | None = Field(
        1000,
        description="Answers at most, half of them yes: this many tiles are cut. null for all. A folder's count all.",
    )


class ClassifierConfig(_Section):
    """The classifier of tiles."""

    levels: list[Level] = Field(
        ["C2"],
        min_length=1,
        description="Backbone levels that carry a head; the answer is the mean of their logits.",
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.15,
        description="The answer for a tile is the mean of this share of its positions, those that speak most for "
        "nuclei. 1 is average pooling, as in the paper.",
    )
    feedback: bool = Field(
        True,
        description="Learn from the last cycle's detections of `rounds.score` or more, pixel by pixel. Needs a share "
        "below 1.",
    )
    hidden: Count | None = Field(
        None, description="Units of a hidden layer in each head; null for none, 1024 in the paper."
    )
    steps: Positive = Field(300, description="Training steps in cycle 1.")
    later_steps: Positive | None = Field(
        200, description="Training steps in a later cycle; null for steps times the cycle's number, as in the paper."
    )
    batch: Count = Field(32, description="Tiles a step; half of them positive.")
    optimizer: Optimizer = Field(
        "adamw", description="adamw warms up and decays its rate; sgd keeps it constant, as in the paper."
    )
    learning_rate: Rate = Field(1e-3, description="Peak learning rate in cycle 1.")
    later_learning_rate: Rate = Field(5e-4, description="Peak learning rate in later cycles.")
    shear: Share = Field(0.0, description="Random shear of a tile, up to this tangent.")
    zoom: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="Random zoom of a tile, up to this share.")
    stain_jitter: Share = Field(
        0.2, description="Spread of the random change of each stain, as a share; raise it for slides of many stains."
    )

    @pydantic.field_validator("levels")
    @classmethod
    def _each_level_once(cls, levels: list[Level]) -> list[Level]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level stands twice")
        return levels


class MapsConfig(_Section):
    """Activation maps of whole images."""

    method: MapMethod = Field(
        "evidence",
        description="What the map shows: the probability of a nucleus by each position's own logits (evidence), class "
        "activation, or layer-wise relevance (lrp_...). lrp_composite is the paper's.",
    )
    level: Level = Field("C2", description="Backbone level whose head is explained; one of classifier.levels.")


class PseudoConfig(_Section):
    """Pseudo masks: the components that training may trust. Areas in source pixels."""

    recipe: Literal["map", "stain", "paper"] = Field(
        "map",
        description="map: components of the mean of activation map and hematoxylin map, best first over all images, "
        "none in a negative tile. stain: the same of the hematoxylin map alone. "
        "paper: components of the activation map alone, ranked by solidity, filled to their hulls.",
    )
    factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.8, 1.0, 1.2, 1.4, 1.7, 2.0],
        min_length=1,
        description="Multiples of the threshold that compete. High ones part clumps, low ones keep pale nuclei whole.",
    )
    min_area: Positive = Field(40, description="Smallest component.")
    max_area: Positive | None = Field(
        None, description="Largest component; null for no limit. Set it where packed nuclei merge into dark bands."
    )
    count: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Keep at most this many for 1000 x 1000 pixels; null for no limit."
    )
    share: Share | None = Field(
        0.65, description="Keep the best share of the components: of all images together; of each in the recipe paper."
    )


# Channels of pyramid, RPN and mask head, and units of the box head.
WIDTHS = {"tiny": (64, 64, 64, 256), "small": (128, 128, 128, 512), "matterport": (256, 512, 256, 1024)}


class MaskRcnnConfig(_Section):
    """Mask R-CNN and its training. Lengths in network pixels: source pixels times `scale`."""

    recipe: Literal["nuclei", "paper"] = Field(
        "nuclei",
        description="How crops train. nuclei: true boxes join the proposals, mini masks of 28 pixels, a warm-up. "
        "paper: proposals alone, kept up to an overlap (IoU) of 0.9, mini masks of 56 pixels, up to 200 instances.",
    )
    width: Literal["tiny", "small", "matterport"] | tuple[Channels, Channels, Channels, Channels] = Field(
        "small",
        description="Size of the heads: tiny for trials, small for CPU cores, matterport as published. Or four "
        "numbers: channels of pyramid, RPN and mask head, units of the box head.",
    )
    crop: Side = Field(320, description="Side of a training crop, divisible by 64.")
    batch: Count = Field(2, description="Crops a step.")
    devices: Count = Field(
        1,
        description="Devices that share the crops of a step, on JAX and TensorFlow; give batch a multiple. Scores stay "
        "the same; the classifier and detection take one device.",
    )
    steps: Positive = Field(1000, description="Training steps of the first teacher.")
    later_steps: Positive = Field(600, description="Training steps of each student, and of later teachers.")
    optimizer: Optimizer = Field(
        "adamw", description="adamw warms up and decays its rate; sgd keeps it constant, as in the paper."
    )
    learning_rate: Rate = Field(5e-4, description="Peak learning rate of the first teacher.")
    later_learning_rate: Rate = Field(3e-4, description="Peak learning rate after it.")
    anchor_scales: tuple[Side, Side, Side, Side, Side] = Field(
        (16, 32, 64, 128, 256), description="Side of the anchors of each pyramid level; halve them for scale 1."
    )
    rpn_anchors: Count = Field(128, description="Anchors of a crop that bear loss.")
    rois: Count = Field(64, description="ROIs of a crop that are trained.")
    proposals: Count = Field(500, description="Proposals of a crop in training.")
    stain_jitter: Share = Field(
        0.2, description="Spread of the random change of each stain, as a share; raise it for slides of many stains."
    )

    @pydantic.field_validator("width")
    @classmethod
    def _name_width(cls, width: str | tuple[int, ...]) -> str | tuple[int, ...]:
        return next((name for name, widths in WIDTHS.items() if widths == width), width)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of pyramid, RPN and mask head, and units of the box head."""
        return WIDTHS[self.width] if isinstance(self.width, str) else self.width


class RoundsConfig(_Section):
    """Self-training: confident detections on the training images join the pseudo masks."""

    students: Annotated[int, Field(ge=0)] = Field(
        0, description="Students after the teacher in each cycle. With 0 the next cycle learns from the teacher."
    )
    score: Share = Field(0.85, description="A detection of this score or more may join.")
    ignore_score: Share = Field(
        0.2, description="A weaker detection down to this score is ignored; below, it is background."
    )
    count: Annotated[float, Field(ge=0)] | None = Field(
        100,
        description="At most this many join for 1000 x 1000 pixels; null for no limit. 0 leaves the pseudo masks as "
        "they are.",
    )


# Of tiles up to this side, the numbers of proposals and detections are those of the settings.
USUAL_TILE = 256


class DetectionConfig(_Section):
    """Detection in whole images. Tile, overlap and areas in source pixels at the resolution `mpp`."""

    tile: Annotated[int, Field(ge=SMALLEST_TILE, le=4096)] = Field(
        384, description="Side of a tile, 16 or more. A larger one needs more memory."
    )
    overlap: Annotated[int, Field(ge=0)] = Field(
        64,
        description="Pixels that neighbouring tiles share; more than the length of most nuclei. A larger nucleus where "
        "tiles meet is looked at in a window of its own.",
    )
    batch: Count = Field(1, description="Tiles detected at a time; 4 to 16 on a GPU.")
    proposals: Count = Field(
        500, description="Proposals of a tile of 256 pixels or less. A larger one has more, by its area."
    )
    max_instances: Count = Field(400, description="Detections at most, in the same way.")
    score: Share = Field(0.3, description="Lowest score of a nucleus. Raise it for fewer false ones.")
    box_iou: Share = Field(0.7, description="Box overlap (IoU) over which the weaker detection of a tile goes.")
    mask_iou: Share = Field(0.3, description="Mask overlap (IoU) over which the weaker detection goes.")
    shape_power: Annotated[float, Field(ge=0, le=100)] = Field(
        8.0,
        description="Of two overlapping detections the one with the larger score x (fit to an ellipse) ^ power stays; "
        "0 compares scores alone.",
    )
    mask_margin: Share = Field(0.15, description="Boxes grow by this share before their masks are found.")
    mask_threshold: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.7,
        description="Lowest probability of a nucleus' pixel. At 0.5 masks come out larger than those learnt from, and "
        "grow from cycle to cycle.",
    )
    min_area: Positive = Field(30, description="Smallest nucleus.")
    min_area_share: Share = Field(
        0.25, description="Smallest nucleus, as a share of the image's median area; 0 switches it off."
    )
    max_area_ratio: Annotated[float, Field(gt=1)] | None = Field(
        5.0,
        description="A detection larger than this many median areas is a clump: the nuclei within it stay instead. "
        "null switches it off.",
    )
    usual_area: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Median area of the nuclei trained on. An image of far smaller nuclei is enlarged before "
        "detection; null switches it off.",
    )
    verdict: bool = Field(
        True,
        description="Ask the classifier, where the weights hold one, and drop what it has no evidence for. false keeps "
        "all.",
    )
    evidence: Share = Field(
        0.3,
        description="Lowest mean of the activation map within a nucleus, for the verdict by local evidence. Where the "
        "surest nuclei of an image have more than this, each needs three quarters of their median.",
    )
    views: Annotated[int, Field(ge=1, le=8)] = Field(
        1, description="Flips and turns of an image that vote on its nuclei; each costs a whole detection."
    )

    def of_a_tile(self, count: int) -> int:
        """Return a number that holds for `USUAL_TILE` pixels square as that of a tile.

        >>> DetectionConfig(tile=512).of_a_tile(500), DetectionConfig(tile=128).of_a_tile(500)
        (2000, 500)
        """
        return round(count * max(1.0, self.tile / USUAL_TILE) ** 2)


class RunConfig(_Section):
    """All settings of a run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="Seed of every random choice of the run.")
    supervision: Literal["image", "none", "instance"] = Field(
        "image",
        description="image: yes/no answers for tiles. none: hematoxylin alone, without any label. instance: the upper "
        "bound, which trains on the instance labels.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto",
        description="Number format of the networks. auto: mixed_bfloat16 on a CPU with instructions for it, else "
        "float32.",
    )
    cycles: Positive = Field(
        5,
        description="Cycles of classifier and Mask R-CNN. A run goes on with more of them: `--resume --set cycles=7`.",
    )
    start: str | None = Field(
        None,
        description="best.weights.h5 of a trained model to go on from: cycle 1 learns from its detections. Answers "
        "then come from tiles.folder alone; without that, its classifier stays as it is.",
    )
    scale: Annotated[float, Field(ge=1, le=8, multiple_of=0.25, allow_inf_nan=False)] = Field(
        2,
        description="Enlargement of every image before the networks, in quarters. 1.5 takes 0.6 of the time.",
    )
    mpp: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        0.25,
        description="Micrometres per pixel of the training images. Images of another are rescaled to it before "
        "prediction. null where they differ: nothing is rescaled.",
    )
    mean_pixel: tuple[Colour, Colour, Colour] = Field(
        (189.44, 136.76, 169.23),
        description="Mean red, green and blue of the training images, 0 to 255, which is subtracted.",
    )
    augmentation: Literal["narrow", "wide", "paper"] = Field(
        "narrow",
        description="What training varies besides flips and turns. narrow: the amounts of the stains, for images of "
        "one lab. wide: also what differs between labs: dyes, light, sharpness, compression, size. paper: instead, "
        "tiles are mirrored, and crops get at most two of mirror, quarter turn, brightness and blur.",
    )
    backbone: BackboneConfig = BackboneConfig()
    tiles: TilesConfig = TilesConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    maps: MapsConfig = MapsConfig()
    pseudo: PseudoConfig = PseudoConfig()
    mask_rcnn: MaskRcnnConfig = MaskRcnnConfig()
    rounds: RoundsConfig = RoundsConfig()
    detection: DetectionConfig = DetectionConfig()

    @property
    def trusts_negative_tiles(self) -> bool:
        """Whether no pseudo mask may lie in a negative tile: with yes/no answers, but for the paper's recipe."""
        return self.supervision == "image" and self.pseudo.recipe != "paper"

    @property
    def has_answers(self) -> bool:
        """Whether somebody answers for tiles: a person, or in a run from scratch instance labels in their place."""
        return self.supervision == "image" and (
            self.tiles.folder is not None or self.tiles.answers is not None or self.start is None
        )

    @property
    def first_cycle(self) -> int:
        """The number of the first cycle: 0 is the model that a run goes on from."""
        return 1 if self.start is None else 0

    @property
    def has_feedback(self) -> bool:
        """Whether the classifier learns from detections, pixel by pixel."""
        return self.classifier.feedback and self.has_local_evidence

    @property
    def has_local_evidence(self) -> bool:
        """Whether single positions of the classifier's map are trained, and not only their mean."""
        return self.classifier.share < 1

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        """Refuse what would otherwise stop a run hours later."""
        rules = (
            (
                self.supervision != "none" or self.pseudo.recipe != "paper",
                "supervision none has no activation map: it needs another pseudo.recipe than paper",
            ),
            (
                self.tiles.folder is None or self.tiles.answers is None,
                "tiles.folder and tiles.answers exclude each other",
            ),
            (
                self.mask_rcnn.batch % self.mask_rcnn.devices == 0,
                "mask_rcnn.batch has to be a multiple of mask_rcnn.devices",
            ),
            (self.detection.overlap < self.detection.tile, "detection.overlap has to be smaller than detection.tile"),
            (
                self.detection.tile - self.detection.overlap >= SMALLEST_STEP,
                f"detection.tile has to be {SMALLEST_STEP} pixels larger than detection.overlap",
            ),
            (
                self.pseudo.max_area is None or self.pseudo.min_area <= self.pseudo.max_area,
                "pseudo.min_area must not exceed pseudo.max_area",
            ),
            (self.mask_rcnn.crop % 64 == 0, "mask_rcnn.crop has to be divisible by 64"),
            (
                self.classifier.share == 1 or self.classifier.hidden is None,
                "classifier.hidden needs classifier.share 1: a position has no hidden layer",
            ),
            (
                self.maps.method != "evidence" or self.classifier.hidden is None,
                "maps.method evidence needs classifier.hidden null; use gradcam or lrp_epsilon",
            ),
            (
                self.start is None or self.supervision == "image",
                "start goes on with a classifier: supervision has to be image",
            ),
            (
                self.backbone.public_weights is None
                or self.backbone.norm in PUBLIC_WEIGHTS[self.backbone.public_weights].get(self.backbone.name, ()),
                f"backbone.weights {self.backbone.weights} are not of backbone.name {self.backbone.name} with "
                f"backbone.norm {self.backbone.norm}",
            ),
            (self.maps.level in self.classifier.levels, "maps.level has to be one of classifier.levels"),
            (self.rounds.ignore_score <= self.rounds.score, "rounds.ignore_score must not exceed rounds.score"),
        )
        for holds, rule in rules:
            if not holds:
                raise ValueError(rule)
        return self


def load_config(paths: str | Path | Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> RunConfig:
    """Return the configuration of YAML files, later ones on top, with `overrides` on top of all.

    A file may name the file below it with the key `base`, a path relative to its own folder. Keys of earlier versions
    are translated or skipped, with a warning that names them.

    Args:
        paths: one YAML file or several, with any of the keys of `RunConfig`; none for the defaults.
        overrides: `section.key=value` strings; the value is YAML.

    Raises:
        InputError: no such file or an empty one, no valid YAML, an unknown key (the nearest one is named) or a value
            out of range.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    layers = [layer for path in files for layer in _read_layers(Path(path))]
    layers.append(("--set", _translated(parse_overrides(overrides), "--set")))
    content: dict = {}
    for _, layer in layers:
        content = merge(content, layer)
    return validate(content, "configuration", layers)


def merge_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return `config` with `section.key=value` strings on top.

    Raises:
        InputError: as `load_config`.
    """
    above = _translated(parse_overrides(overrides), "--set")
    return validate(merge(config.model_dump(mode="json"), above), "--set")


def read_stored(content: object, source: str | Path) -> RunConfig:
    """Return the settings that a weights file or a run directory carries, of this version or an earlier one.

    Args:
        content: the settings as plain data. Keys that they lack have their default.
        source: the file, for messages.

    Raises:
        InputError: they are no settings of any version.
    """
    return read_stored_strictly(content, source)[0]


def read_stored_strictly(content: object, source: str | Path) -> tuple[RunConfig, list[str]]:
    """Return what `read_stored` returns, and the stored settings that this version can no longer follow."""
    if not isinstance(content, dict):
        raise InputError(f"{source}: holds no settings; restore the file")
    modern, _, lost = modernise(content)
    modern = fill_earlier_defaults(modern, is_first_version(content))
    return validate(modern, str(source)), lost


def validate(content: dict, source: str, layers: Sequence[tuple[str, dict]] = ()) -> RunConfig:
    """Return `content`, settings of this version, as a `RunConfig`.

    Args:
        content: nested settings.
        source: names them in messages.
        layers: `(source, settings)` that `content` was merged from, the highest last; messages name those at fault.

    Raises:
        InputError: an unknown key (the nearest one is named) or a value out of range.
    """
    try:
        return RunConfig.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            rule = str(first["ctx"]["error"])
            keys = [tuple(word.split(".")) for word in rule.replace(":", "").split()]
            sources = dict.fromkeys(name for key in keys for name in _setters(layers, key)[-1:])
            raise InputError(f"{', '.join(sources) or source}: {rule}; correct one of them") from error
        source = next(iter(_setters(layers, first["loc"])[::-1]), source)
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{source}: unknown key {key}; {_nearest(first['loc'])}") from error
        raise InputError(f"{source}: {key} = {first['input']!r}: {first['msg']}") from error


def _setters(layers: Sequence[tuple[str, dict]], location: Sequence[str | int]) -> list[str]:
    """Return which of the layers set the key at a location, or something within it."""
    setters = []
    for name, content in layers:
        inner: object = content
        for part in location:
            if not isinstance(inner, dict):
                break  # an entry of a list
            inner = inner.get(part, _NOTHING)
        if inner is not _NOTHING and inner is not content:
            setters.append(name)
    return setters


def parse_overrides(overrides: Sequence[str]) -> dict:
    """Return `section.key=value` strings (the value is YAML) as nested settings.

    Raises:
        InputError: no such string, or a value where a section is needed.
    """
    if isinstance(overrides, str):  # whose letters would be read one by one
        raise InputError(f"settings {overrides!r}: give a list of texts, [{overrides!r}]")
    content: dict = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise InputError(f"--set {override}: write it as section.key=value, e.g. mask_rcnn.steps=100")
        *sections, last = key.split(".")
        section = content
        for name in sections:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise InputError(f"--set {override}: {name} holds a value, not further keys")
        try:
            section[last] = read_yaml(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {override}: the value is not valid YAML") from error
    return content


def merge(below: dict, above: dict) -> dict:
    """Return nested settings with those of `above` instead of those of `below`."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _translated(content: dict, source: str) -> dict:
    """Return what a user wrote in keys of this version, with a warning that names keys of an earlier one."""
    modern, old, lost = modernise(content)
    fixed = {key: f"{key} is now always {json.dumps(fixed_value(modern, key))}" for key in lost}
    if old:
        warnings.warn(
            f"{source}: keys of an earlier version, translated or without effect now: "
            f"{', '.join(fixed.get(key, key) for key in old)}; see docs/settings.md",
            stacklevel=3,
        )
    return modern


def _read_layers(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[str, dict]]:
    """Return `(file, content)` of a configuration file, below it the file that it names as its base, and so on.

    Args:
        path: the file.
        above: the files that led to it, the nearest last.
    """
    if not path.is_file():
        if above:
            raise InputError(f"{above[-1]}: {BASE} names {path}, which is no file; correct the path there")
        raise InputError(f"{path}: no such configuration file; see configs/ for examples")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = read_yaml(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct the file") from error
    if not text.strip():  # what a full disk leaves of a file; defaults would start quite another run
        raise InputError(f"{path}: empty; write the file again, or give no configuration for the defaults")
    content = {} if content is None else content  # comments alone
    if not isinstance(content, dict):
        raise InputError(f"{path}: a mapping of keys to values is needed; see configs/ for examples")
    base = content.pop(BASE, None)
    content = _translated(content, str(path))
    own = [(str(path), content)]
    if base is None:
        return own
    read = [os.path.realpath(each) for each in (path, *above)]
    if not isinstance(base, str) or os.path.realpath(below := path.parent / base) in read:
        raise InputError(f"{path}: {BASE} = {base!r}: name another configuration file")
    return _read_layers(below, (*above, path)) + own


def sections_of(model: type[pydantic.BaseModel]) -> dict[str, type[pydantic.BaseModel]]:
    """Return `{name: class}` of the sections of a configuration class."""
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel)
    }


def _nearest(location: tuple) -> str:
    """Return which key was probably meant: the same name elsewhere, else a like one of the section, else of any."""
    sections = sections_of(RunConfig)
    section = sections[str(location[0])] if len(location) > 1 else RunConfig
    word = str(location[-1])
    every = [f"{name}.{key}" for name, part in sections.items() for key in part.model_fields]
    same_name = [full for full in every if full.split(".")[1] == word]
    if same_name:
        return f"did you mean {' or '.join(same_name)}?"
    near = difflib.get_close_matches(word, section.model_fields, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join([*map(str, location[:-1]), near[0]])}?"
    near = [full for full in every if difflib.SequenceMatcher(None, full.split(".")[1], word).ratio() > 0.7]
    return f"did you mean {near[0]}?" if near else f"valid keys: {', '.join(section.model_fields)}"
