"""Score predicted label maps against the true ones: the same as `cyclic evaluate`.

Example:
    python scripts/evaluate.py --pred predictions/ --gt data/labels/ --json scores.json
"""

import argparse
import sys
from pathlib import Path

import rich.console

from cyclic.errors import InputError
from cyclic.evaluation.compare import evaluate_and_write
from cyclic.evaluation.table import results_table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = "folder of label maps or a COCO .json file"
    parser.add_argument("--pred", action="append", required=True, help=f"{source}, or NAME={source}; repeat to compare")
    parser.add_argument("--gt", type=Path, required=True, help=f"{source} with the true nuclei, the same image ids")
    parser.add_argument("--baseline", type=Path, help="folder of the images: score the no-label baseline on them, too")
    parser.add_argument("--iou", type=float, default=0.5, help="nuclei match over this IoU (default: 0.5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: 0)")
    for name in ("json", "csv", "markdown"):
        parser.add_argument(f"--{name}", type=Path, help="also write the scores to this file")
    options = vars(parser.parse_args())
    try:
        tables = evaluate_and_write(iou_threshold=options.pop("iou"), **options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    # Outside a terminal rich assumes 80 columns, too few for a row of scores.
    console = rich.console.Console(width=None if sys.stdout.isatty() else 240)
    for rows in tables:
        console.print(results_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
