"""`RunConfig`: every setting of a run, typed and checked, with its default and its meaning.

The same class reads the YAML files in `configs/`, is saved beside a run's weights, and is the only place of defaults.
"""

import difflib
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import Field

from cyclic.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Level = Literal["C2", "C3", "C4", "C5"]


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class BackboneConfig(_Section):
    """The network that classifier and Mask R-CNN share."""

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "vgg16"] = "resnet18"
    norm: Literal["batch", "frozen", "group"] = Field("group", description="group: any batch size, also from scratch")
    weights: str | None = Field(None, description="h5 file of weights to start from, by layer name")


class TilesConfig(_Section):
    """Image-level labels: tiles with and without nuclei. Lengths in source pixels."""

    folder: str | None = Field(None, description="folder with positive/ and negative/; none: cut from labelled images")
    size: Positive = 64
    stride: Positive = 48
    min_coverage: Share = Field(0.1, description="positive from this share of nucleus pixels on")
    max_coverage_negative: Share = 0.0
    balance: bool = True


class ClassifierConfig(_Section):
    """Front end: positive or negative tile."""

    levels: list[Level] = Field(["C3", "C5"], description="pyramid levels that carry a head")
    hidden: Positive | None = Field(None, description="units of a hidden layer in each head")
    steps: Positive = Field(400, description="steps in cycle 1")
    later_steps: Positive | None = Field(150, description="steps in a later cycle; none: steps x the cycle's number")
    batch: Positive = 32
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    later_learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    held_out: Share = Field(0.1, description="share of the tiles that report accuracy and F1")
    shear: Share = 0.0
    zoom: Share = 0.1
    stain_jitter: Annotated[float, Field(ge=0)] = 0.05


class MapsConfig(_Section):
    """Activation maps of whole training images."""

    method: Literal["gradcam", "gradcampp", "layercam", "lrp_epsilon", "lrp_alphabeta"] = "gradcam"
    level: Level = "C3"
    flips: bool = Field(False, description="average over the eight symmetries")
    tile: Positive = Field(256, description="tile of the sliding window, source pixels")
    overlap: Annotated[int, Field(ge=0)] = 64
    average: bool = Field(False, description="pseudo masks see the mean of the maps of all cycles so far")


class PseudoConfig(_Section):
    """Activation map to pseudo masks. Areas in source pixels."""

    source: Literal["activation", "hematoxylin", "product"] = Field(
        "hematoxylin", description="the map whose components become masks: the classifier's, the stain prior, or both"
    )
    agreement: bool = Field(True, description="a component's overlap with the activation map enters its confidence")
    threshold_method: Literal["otsu", "range", "local", "background"] = "otsu"
    threshold: Share | None = Field(None, description="for range: share of the map's range; for others: see docs")
    factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.8, 1.0, 1.2, 1.4], min_length=1, description="multiples of the threshold that compete"
    )
    split: bool = Field(True, description="split touching nuclei, open bridges, smooth outlines")
    max_hole: Annotated[int, Field(ge=0)] = Field(
        800, description="a nucleus' pale centre of at most this area is filled; 0: none"
    )
    closing: Annotated[int, Field(ge=0)] = Field(1, description="radius in pixels that closes gaps of a rim before")
    min_area: Positive = 40
    max_area: Positive | None = None
    rank_by: Literal["confidence", "solidity", "area"] = "confidence"
    count: float | None = Field(None, description="keep the best this many for 1000 x 1000 pixels")
    share: Share | None = Field(0.45, description="keep the best this share")
    pool: bool = Field(
        False, description="the share is of all training images' components together: a poor image gives few"
    )
    min_confidence: Share | None = Field(None, description="keep those of this confidence or more")
    hull: bool = Field(False, description="fill masks to their convex hull")
    ignore: bool = Field(True, description="no loss where neither a pseudo mask nor confident background is")
    min_activation: Share = Field(
        0.0, description="a component or detection needs this mean of the classifier's map to become a pseudo mask"
    )
    background: Share = Field(0.0, description="what the classifier's map rates under this is background, not ignored")
    negative_tiles: bool = Field(
        False, description="where a negative tile of a training image lies is background, and no pseudo mask"
    )
    ignore_rest: bool = Field(
        False, description="what is neither a pseudo mask nor in a negative tile is ignored: it may be a pale nucleus"
    )

    @property
    def reads_activation(self) -> bool:
        """Whether pseudo masks depend on the classifier's map."""
        return self.source != "hematoxylin" or self.agreement or self.min_activation > 0 or self.background > 0


class SegmenterConfig(_Section):
    """Back end: Mask R-CNN. Lengths in network pixels, i.e. after scaling."""

    crop: Positive = Field(320, description="side of a training crop, divisible by 64")
    batch: Positive = 2
    steps: Positive = Field(900, description="training steps of the teacher in cycle 1")
    later_steps: Positive = Field(400, description="training steps of each student, and of later teachers")
    steps_per_epoch: Positive = 100
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    later_learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Annotated[int, Field(ge=0)] = 50
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    pyramid_channels: Positive = 128
    rpn_channels: Positive = 128
    mask_channels: Positive = 128
    fc_size: Positive = 512
    anchor_scales: list[int] = [16, 32, 64, 128, 256]
    rpn_anchors: Positive = Field(128, description="anchors of an image that bear loss")
    rois: Positive = Field(64, description="ROIs of an image that are trained")
    proposals: Positive = Field(500, description="proposals in training")
    max_instances: Positive = Field(128, description="pseudo masks in a crop at most")
    stain_jitter: Annotated[float, Field(ge=0)] = 0.05
    fade: Share = Field(0.0, description="share of a crop's pseudo masks that are paled: pale nuclei are rarely seeds")
    zoom: Share = Field(0.0, description="crops are enlarged or shrunk by a random factor of up to 1 + zoom")
    gt_proposals: bool = Field(True, description="pseudo masks' boxes join the proposals in training")


class RoundsConfig(_Section):
    """Self-training: confident detections on the training images join the pseudo masks."""

    students: Annotated[int, Field(ge=0)] = Field(2, description="students after the teacher, in each cycle")
    score: Share = Field(0.85, description="a detection of this score or more joins")
    ignore_score: Share = Field(0.3, description="a weaker detection down to this score is ignored, not background")
    count: float | None = Field(40, description="at most this many join for 1000 x 1000 pixels")


class DetectionConfig(_Section):
    """Detection in whole images. Tile and overlap in source pixels."""

    tile: Positive = 256
    overlap: Annotated[int, Field(ge=0)] = 64
    batch: Positive = 1
    proposals: Positive = 1000
    max_instances: Positive = Field(300, description="detections in a tile at most")
    score: Share = 0.5
    box_nms_threshold: Share = Field(0.3, description="box overlap over which the weaker detection of a tile goes")
    nms_threshold: Share = Field(0.3, description="mask overlap over which the weaker detection goes")
    shape_power: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="of overlapping detections the better one has score x (fit to an ellipse) ^ this; 0: score alone",
    )
    mask_margin: Share = Field(0.0, description="boxes are enlarged by this share before their masks are found")
    min_area: Positive = Field(30, description="smaller nuclei are dropped, source pixels")
    min_area_share: Share = Field(
        0.0, description="share of the median area of the image's better detections that a nucleus needs"
    )
    max_area_ratio: Annotated[float, Field(gt=1)] | None = Field(
        None,
        description="a detection of more than so many times that median area is a clump: what is within it counts",
    )
    usual_area: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="median area of the nuclei trained on; an image of far smaller ones is tried up to twice as large",
    )
    views: Annotated[int, Field(ge=1, le=8)] = Field(1, description="flips and turns of an image that have to agree")


class RunConfig(_Section):
    """All settings of a run."""

    seed: int = 0
    supervision: Literal["image", "none", "instance"] = Field(
        "image",
        description="none: hematoxylin components without any label; instance: the upper bound, which trains on the "
        "instance labels of the training images",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto", description="auto: mixed_bfloat16 on a CPU with instructions for it, else float32"
    )
    cycles: Positive = 2
    scale: Positive = Field(2, description="every image is enlarged this much before the network")
    mean_pixel: tuple[float, float, float] = (189.44, 136.76, 169.23)
    evaluate: bool = Field(True, description="score each cycle on val, if val is labelled; selects nothing")
    backbone: BackboneConfig = BackboneConfig()
    tiles: TilesConfig = TilesConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    maps: MapsConfig = MapsConfig()
    pseudo: PseudoConfig = PseudoConfig()
    segmenter: SegmenterConfig = SegmenterConfig()
    rounds: RoundsConfig = RoundsConfig()
    detection: DetectionConfig = DetectionConfig()

    def with_pseudo(self, **settings: object) -> "RunConfig":
        """Return a copy with these keys of section `pseudo`, which are not checked again."""
        return self.model_copy(update={"pseudo": self.pseudo.model_copy(update=settings)})

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "RunConfig":
        """Refuse what would otherwise stop a run hours later."""
        rules = (
            (
                self.supervision != "none" or not self.pseudo.reads_activation,
                "supervision none has no activation map: it needs pseudo.source hematoxylin, pseudo.agreement false, "
                "pseudo.min_activation 0 and pseudo.background 0",
            ),
            (
                self.supervision == "image" or not self.pseudo.negative_tiles,
                f"supervision {self.supervision} has no tiles: it needs pseudo.negative_tiles false (and "
                "pseudo.ignore_rest false)",
            ),
            (
                self.pseudo.negative_tiles or not self.pseudo.ignore_rest,
                "pseudo.ignore_rest needs pseudo.negative_tiles",
            ),
            (
                not self.pseudo.pool or self.pseudo.rank_by == "confidence",
                "pseudo.pool compares images by confidence: it needs pseudo.rank_by confidence",
            ),
            (self.maps.overlap < self.maps.tile, "maps.overlap has to be smaller than maps.tile"),
            (self.detection.overlap < self.detection.tile, "detection.overlap has to be smaller than detection.tile"),
            (self.maps.tile * self.scale % 32 == 0, "maps.tile times scale has to be divisible by 32"),
            (self.segmenter.crop % 64 == 0, "segmenter.crop has to be divisible by 64"),
            (self.maps.level in self.classifier.levels, "maps.level has to be one of classifier.levels"),
            (self.rounds.ignore_score <= self.rounds.score, "rounds.ignore_score must not exceed rounds.score"),
            (
                self.tiles.max_coverage_negative < self.tiles.min_coverage,
                "tiles.max_coverage_negative has to be smaller than tiles.min_coverage",
            ),
        )
        for holds, rule in rules:
            if not holds:
                raise ValueError(rule)
        return self


def load_config(path: str | Path | None = None, overrides: tuple[str, ...] = ()) -> RunConfig:
    """Return the configuration of the YAML file `path` (None: the defaults) with `overrides` on top.

    Args:
        path: YAML file with any of the keys of `RunConfig`.
        overrides: `section.key=value` strings; the value is YAML.

    Raises:
        InputError: no such file or an empty one, no valid YAML, an unknown key (the nearest one is named) or a value
            out of range.
    """
    content, source = {}, "default configuration"
    if path is not None:
        source = str(path)
        if not Path(path).is_file():
            raise InputError(f"{path}: no such configuration file; see configs/ for examples")
        try:
            text = Path(path).read_text()
            content = yaml.safe_load(text) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct the file") from error
        if not text.strip():  # what a full disk leaves of a file; defaults would start quite another run
            raise InputError(f"{path}: empty; write the file again, or give no configuration for the defaults")
        if not isinstance(content, dict):
            raise InputError(f"{path}: a mapping of keys to values is needed; see configs/ for examples")
    for override in overrides:
        apply_override(content, override)
    return validate(content, source)


def validate(content: dict, source: str) -> RunConfig:
    """Return `content` as a `RunConfig`; `source` names it in messages."""
    try:
        return RunConfig.model_validate(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise InputError(f"{source}: {first['ctx']['error']}; correct one of them") from error
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{source}: unknown key {key}; {_nearest(first['loc'])}") from error
        raise InputError(f"{source}: {key} = {first['input']!r}: {first['msg']}") from error


def apply_override(content: dict, override: str) -> None:
    """Write a `section.key=value` string (the value is YAML) into the nested dict `content`.

    Raises:
        InputError: no such string, or a value where a section is needed.
    """
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: write it as section.key=value, e.g. segmenter.steps=100")
    *sections, last = key.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise InputError(f"--set {override}: {section} holds a value, not further keys")
    try:
        content[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not valid YAML") from error


def _nearest(location: tuple) -> str:
    """Return which key was probably meant: the same name elsewhere, else a like one of the section, else of any."""
    section: type[pydantic.BaseModel] = RunConfig
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    word = str(location[-1])
    every = [
        f"{name}.{key}"
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel)
        for key in field.annotation.model_fields
    ]
    same_name = [full for full in every if full.split(".")[1] == word]
    if same_name:
        return f"did you mean {' or '.join(same_name)}?"
    near = difflib.get_close_matches(word, section.model_fields, n=1, cutoff=0.5)
    if near:
        return f"did you mean {'.'.join([*map(str, location[:-1]), near[0]])}?"
    near = [full for full in every if difflib.SequenceMatcher(None, full.split(".")[1], word).ratio() > 0.7]
    return f"did you mean {near[0]}?" if near else f"valid keys: {', '.join(section.model_fields)}"
