"""The card of a trained model: where its weights are, what they are allowed for, and what is known of them."""

import json
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from cyclic.errors import InputError
from cyclic.files import read_json

NAME = r"[a-z0-9][a-z0-9._-]*"


class Card(pydantic.BaseModel):
    """What `NAME.json` holds.

    Attributes:
        name: lower case letters, digits, and `.`, `_`, `-` within.
        source: address of the weights (`https://`, `http://`, `file://`), or their file: a whole path, or its name
            beside the card.
        sha256: checksum of the weights file, hexadecimal.
        licence: what the weights may be used for.
        mpp: micrometres per pixel of the training images; None where unknown.
        about: what else is told: data, answers, scores, limits.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    source: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    licence: Annotated[str, Field(min_length=1)]
    mpp: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    about: dict[str, Any] = {}

    @property
    def is_remote(self) -> bool:
        """Whether the weights have to be fetched from an address."""
        return "://" in self.source

    def as_json(self) -> str:
        """Return the card as indented JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def make_card(**fields: Any) -> Card:
    """Return a card.

    Raises:
        InputError: a field is out of range; the message names it.
    """
    try:
        return Card(**fields)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"model: {field} = {first['input']!r}: {first['msg']}") from error


def read_card(path: Path) -> Card:
    """Return the card in a file. Raises InputError where it holds none."""
    content = read_json(path)
    try:
        return make_card(**content) if isinstance(content, dict) else make_card()
    except InputError as error:
        raise InputError(f"{path}: no card of a model ({error}); correct or remove the file") from error
