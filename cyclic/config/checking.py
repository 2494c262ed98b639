"""From nested settings to `RunConfig`, or to a message that says who set what wrongly."""

import difflib
from collections.abc import Sequence

import pydantic

from cyclic.config.run import RunConfig, sections_of
from cyclic.errors import InputError

_NOTHING = object()


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
