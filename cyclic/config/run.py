"""`RunConfig`: the sections and what stands above them, and the rules that keys keep with each other."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from cyclic.config.sections import (
    PUBLIC_WEIGHTS,
    SMALLEST_STEP,
    BackboneConfig,
    ClassifierConfig,
    DetectionConfig,
    MapsConfig,
    MaskRcnnConfig,
    PseudoConfig,
    RoundsConfig,
    TilesConfig,
)
from cyclic.config.values import Colour, Positive, Section


class RunConfig(Section):
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
    def doubts_answers(self) -> bool:
        """Whether answers that look wrong are set aside; the paper trusts all of them."""
        return self.has_answers and self.has_local_evidence

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


def sections_of(model: type[pydantic.BaseModel]) -> dict[str, type[pydantic.BaseModel]]:
    """Return `{name: class}` of the sections of a configuration class."""
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel)
    }
