"""Put measured scores into the card of a model that the package ships.

The files are those of `studies/elsewhere.py --json`. Each says which weights it was measured on; those of others are
refused. The scores replace the ones that the run had, which were measured with the run's own settings of detection.

Example:
    python scripts/card_scores.py he-nuclei results/labs/elsewhere_two_stains.json

Exit code 0: written, 2: wrong use or bad input.
"""

import argparse
import sys
from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import atomic_path, read_json
from cyclic.models.card import read_card
from cyclic.models.registry import SHIPPED

SCORES = ("aji", "dice", "pq")


def read_scores(path: Path, sha256: str) -> dict[str, dict]:
    """Return `{data set: images, scores of the model, AJI of thresholds, settings it was asked with}` of a file.

    Raises:
        InputError: no such file, no scores in it, or those of other weights.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("labs"), dict):
        raise InputError(f"{path}: no scores; studies/elsewhere.py writes them")
    if content.get("weights") != sha256:
        raise InputError(f"{path}: scores of other weights; run studies/elsewhere.py on those of the card")
    settings = {"set": content["set"]} if content.get("set") else {}
    return {
        name: {"images": lab["images"]}
        | {metric: round(lab["model"][metric], 3) for metric in SCORES}
        | {"aji_of_thresholds": round(lab["thresholds"]["aji"], 3)}
        | settings
        for name, lab in content["labs"].items()
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="the model")
    parser.add_argument("files", nargs="+", type=Path, help="what studies/elsewhere.py wrote")
    parser.add_argument("--folder", type=Path, default=SHIPPED, help="of the card; default: that of the package")
    given = parser.parse_args(arguments)
    path = given.folder / f"{given.name}.json"
    try:
        card = read_card(path)
        scores = {name: lab for file in given.files for name, lab in read_scores(file, card.sha256).items()}
        about = {key: value for key, value in card.about.items() if key != "val"}
        with atomic_path(path) as temporary:
            temporary.write_text(
                card.model_copy(update={"about": about | {"scores": scores}}).as_json(), encoding="utf-8"
            )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
