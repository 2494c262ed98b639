"""Score a folder of predicted label maps against the true ones: the same as `cyclic evaluate`.

Example:
    python scripts/evaluate.py --pred predictions/ --gt data/labels/ --json scores.json
"""

import argparse
import sys
from pathlib import Path

import rich.console

from cyclic.errors import InputError
from cyclic.evaluation.folders import evaluate_folders
from cyclic.evaluation.table import image_rows, results_table
from cyclic.files import write_json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred", type=Path, required=True, help="folder of predicted label maps")
    parser.add_argument("--gt", type=Path, required=True, help="folder of true label maps, the same file names")
    parser.add_argument("--json", type=Path, help="also write the scores to this file")
    arguments = parser.parse_args()
    try:
        evaluation = evaluate_folders(arguments.pred, arguments.gt)
        if arguments.json:
            write_json(arguments.json, evaluation)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    # Outside a terminal rich assumes 80 columns, too few for a row of scores.
    width = None if sys.stdout.isatty() else 240
    rich.console.Console(width=width).print(results_table(image_rows(evaluation)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
