"""The sections of a configuration: every key with its default and its meaning."""

from typing import Annotated, Literal

import pydantic
from pydantic import BeforeValidator, Field, PlainSerializer

from cyclic.config.values import Channels, Count, Positive, Rate, Section, Share, Side

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


class BackboneConfig(Section):
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


class TilesConfig(Section):
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


class ClassifierConfig(Section):
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


class MapsConfig(Section):
    """Activation maps of whole images."""

    method: MapMethod = Field(
        "evidence",
        description="What the map shows: the probability of a nucleus by each position's own logits (evidence), class "
        "activation, or layer-wise relevance (lrp_...). lrp_composite is the paper's.",
    )
    level: Level = Field("C2", description="Backbone level whose head is explained; one of classifier.levels.")


class PseudoConfig(Section):
    """Pseudo masks: the components that training may trust. Areas in source pixels."""

    recipe: Literal["map", "stain", "paper"] = Field(
        "map",
        description="map: components of the mean of activation map and hematoxylin map, best first over all images, "
        "none in a negative tile. stain: the same of the hematoxylin map alone. "
        "paper: components of the activation map alone, ranked by solidity, filled to their hulls.",
    )
    factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.7, 0.9, 1.1, 1.3, 1.55, 1.85, 2.2],
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


class MaskRcnnConfig(Section):
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
    anchor_scales: Annotated[tuple[Side, ...], Field(min_length=4, max_length=5)] = Field(
        (32, 64, 128, 256),
        description="Side of the anchors of each pyramid level, the coarsest last; halve them for scale 1. The finest "
        "of five is for the smallest nuclei, and has three quarters of all anchors.",
    )
    rpn_anchors: Count = Field(128, description="Anchors of a crop that bear loss.")
    rois: Count = Field(64, description="ROIs of a crop that are trained.")
    proposals: Count = Field(500, description="Proposals of a crop in training.")
    stain_jitter: Share = Field(
        0.2, description="Spread of the random change of each stain, as a share; raise it for slides of many stains."
    )

    @pydantic.field_validator("anchor_scales")
    @classmethod
    def _coarsest_last(cls, scales: tuple[int, ...]) -> tuple[int, ...]:
        if list(scales) != sorted(set(scales)):
            raise ValueError("each has to be larger than the one before")
        return scales

    @pydantic.field_validator("width")
    @classmethod
    def _name_width(cls, width: str | tuple[int, ...]) -> str | tuple[int, ...]:
        return next((name for name, widths in WIDTHS.items() if widths == width), width)

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of pyramid, RPN and mask head, and units of the box head."""
        return WIDTHS[self.width] if isinstance(self.width, str) else self.width


class RoundsConfig(Section):
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


class DetectionConfig(Section):
    """Detection in whole images. Tile, overlap and areas in source pixels at the resolution `mpp`."""

    tile: Annotated[int, Field(ge=SMALLEST_TILE, le=4096)] = Field(
        576,
        description="Side of a tile at most, 16 or more. An image's tiles are as small as they can be in as few. "
        "Larger ones need more memory.",
    )
    overlap: Annotated[int, Field(ge=0)] = Field(
        64,
        description="Pixels that neighbouring tiles share; more than the length of most nuclei. A larger nucleus where "
        "tiles meet is looked at in a window of its own.",
    )
    batch: Count = Field(1, description="Tiles detected at a time; 4 to 16 on a GPU.")
    proposals: Count = Field(
        200, description="Proposals of a tile of 256 pixels or less. A larger one has more, by its area."
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
