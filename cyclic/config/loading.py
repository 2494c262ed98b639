"""A configuration from files and options, or from what a run or a weights file carries."""

from collections.abc import Sequence
from pathlib import Path

from cyclic.config.checking import validate
from cyclic.config.layers import merge, parse_overrides, read_layers, translated
from cyclic.config.run import RunConfig
from cyclic.errors import InputError
from cyclic.retired import fill_earlier_defaults, is_first_version, modernise


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
    layers = [layer for path in files for layer in read_layers(Path(path))]
    layers.append(("--set", translated(parse_overrides(overrides), "--set")))
    content: dict = {}
    for _, layer in layers:
        content = merge(content, layer)
    return validate(content, "configuration", layers)


def merge_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return `config` with `section.key=value` strings on top.

    Raises:
        InputError: as `load_config`.
    """
    above = translated(parse_overrides(overrides), "--set")
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
