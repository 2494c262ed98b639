"""What settings are made of: numbers within a range, and the class of everything that has keys."""

from typing import Annotated

import pydantic
from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
# What no network is larger than: sides in pixels, channels, and things of a picture or a step.
Side = Annotated[int, Field(ge=1, le=4096)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=1, le=10_000)]
Colour = Annotated[float, Field(ge=0, le=255)]
Rate = Annotated[float, Field(gt=0, le=1)]


class Section(pydantic.BaseModel):
    """Keys that are checked when they are set, and do not change afterwards."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _no_yes_for_a_number(cls, value: object, info: pydantic.ValidationInfo) -> object:
        # Pydantic takes true for 1, and YAML takes "yes" for true.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value of this key")
        return value
