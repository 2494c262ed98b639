"""What a user writes, as nested settings: configuration files, the files below them, and `section.key=value`."""

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import yaml

from cyclic.config.reading import read_yaml
from cyclic.errors import InputError
from cyclic.retired import fixed_value, modernise

# The key of a configuration file that names the file below it.
BASE = "base"


def read_layers(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[str, dict]]:
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
    content = translated(content, str(path))
    own = [(str(path), content)]
    if base is None:
        return own
    read = [os.path.realpath(each) for each in (path, *above)]
    if not isinstance(base, str) or os.path.realpath(below := path.parent / base) in read:
        raise InputError(f"{path}: {BASE} = {base!r}: name another configuration file")
    return read_layers(below, (*above, path)) + own


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


def translated(content: dict, source: str) -> dict:
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


def merge(below: dict, above: dict) -> dict:
    """Return nested settings with those of `above` instead of those of `below`."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
