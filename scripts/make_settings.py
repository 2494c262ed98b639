"""Write docs/settings.md: every key of `RunConfig` with its default and meaning, and the keys of earlier versions.

Example:
    python scripts/make_settings.py            # writes the page
    python scripts/make_settings.py --check    # exit code 1 where the page is not what would be written
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

import pydantic

from cyclic.config import RunConfig, sections_of
from cyclic.retired import ANY, RECIPE_KEYS, REMOVED, RENAMED, WIDTH_KEYS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

HEAD = """\
# Settings

`python scripts/make_settings.py` writes this page from [`cyclic/config/`](../cyclic/config/). Change the
descriptions there, then run it again.

The defaults are the recommended recipe for two CPU cores. A run needs no file at all.

## Files, base and --set

Settings come from three places. Each one goes on top of those before it:

1. the defaults below;
2. the files of `--config`, in the order given;
3. the options `--set section.key=value`, whose value is YAML.

A file may name the file below it with `base:`, a path relative to its own folder.

```
cyclic train --config configs/monusac_cpu.yaml --config mine.yaml --data DATA --out RUN --set mask_rcnn.steps=2000
```

A file holds only what differs:

```yaml
base: configs/monusac_cpu.yaml
mask_rcnn:
  steps: 2000
rounds:
  students: 1
```

- `null` switches a setting off where its meaning says so.
- An unknown key is an error, and the message names the nearest key. So is a value out of range.
- A run directory keeps its settings in `config.yaml`. `--resume` without `--config` goes on with them.
- A weights file carries what prediction needs. With `cyclic predict`, `--set` takes keys of `detection` and `mpp`.
- Steps are updates of the weights. Lengths and areas are in source pixels unless a section says otherwise.
"""


TAIL = """\
## Keys of earlier versions

Stored runs and weights files stay readable. Their old keys are translated or skipped.
In a file or option of yours an old key brings a warning.

- "No effect" marks a removed key whose value no longer matters.
- "Fixed" marks a removed key whose value the program now always uses.
  A stored run with another value can be shown and can predict. It cannot be resumed.
  To repeat it, take the code of its time: see [history.md](history.md).
"""


def page() -> str:
    """Return the page, Markdown."""
    sections = sections_of(RunConfig)
    general = {name: field for name, field in RunConfig.model_fields.items() if name not in sections}
    parts = [HEAD, section("General", RunConfig.__doc__ or "", general, "")]
    for name, model in sections.items():
        parts.append(section(f"`{name}`", model.__doc__ or "", model.model_fields, f"{name}."))
    return "\n".join([*parts, TAIL, table(("old key", "now"), retired_rows())])


def section(title: str, text: str, fields: dict[str, pydantic.fields.FieldInfo], prefix: str) -> str:
    """Return one section: its title, what it is about and a row a key."""
    rows = [(f"`{prefix}{name}`", f"`{default_of(field)}`", meaning_of(field)) for name, field in fields.items()]
    return f"## {title}\n\n{' '.join(text.split())}\n\n{table(('key', 'default', 'meaning'), rows)}"


def default_of(field: pydantic.fields.FieldInfo) -> str:
    """Return a key's default as YAML on one line."""
    return yaml_of(field.get_default(call_default_factory=True))


def meaning_of(field: pydantic.fields.FieldInfo) -> str:
    """Return a key's description and, where the key takes words of a list, these."""
    description, words = field.description or "", choices(field.annotation)
    return f"{description} Takes {', '.join(f'`{word}`' for word in words)}." if words else description


def choices(annotation: object) -> tuple[str, ...]:
    """Return the words that a key takes, one or several; none for a key of another kind.

    >>> choices(Literal["a", "b"]), choices(list[Literal["a", "b"]]), choices(int | None)
    (('a', 'b'), ('a', 'b'), ())
    """
    if get_origin(annotation) is list:
        return choices(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def yaml_of(value: object) -> str:
    """Return a value as YAML on one line.

    >>> yaml_of(None), yaml_of(True), yaml_of("C3"), yaml_of((1.0, 2)), yaml_of(["C3", "C5"])
    ('null', 'true', 'C3', '[1.0, 2]', '[C3, C5]')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_of, value))}]"
    return json.dumps(value)


def retired_rows() -> list[tuple[str, str]]:
    """Return a row for each key of an earlier version: its name then, and what became of it."""
    rows = [(f"`{before}`", f"`{after}`") for before, after in RENAMED.items()]
    rows.append((", ".join(f"`mask_rcnn.{key}`" for key in WIDTH_KEYS), "`mask_rcnn.width`"))
    for key, value in RECIPE_KEYS["stain"].items():
        other = RECIPE_KEYS["paper"][key]
        rows.append((f"`pseudo.{key}`", f"`pseudo.recipe`: `{yaml_of(value)}` in stain, `{yaml_of(other)}` in paper"))
    for key, value in REMOVED.items():
        rows.append((f"`{key}`", "no effect" if value is ANY else f"fixed: `{yaml_of(value)}`"))
    return rows


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is out of date")
    if not parser.parse_args().check:
        PAGE.write_text(page())
        return 0
    if PAGE.is_file() and PAGE.read_text() == page():
        return 0
    print(f"{PAGE.name} is out of date; run python scripts/make_settings.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
