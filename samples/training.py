"""What the training programs of the data sets share: their options, in those of `cyclic train`."""

import argparse
from pathlib import Path

from cyclic.cli import main

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# Without weights there are no statistics to freeze, as the paper's configurations do.
SCRATCH = ("backbone.weights=null", "backbone.norm=group")
# Public weights are of this network, and the CPU configurations have another.
PUBLIC_NETWORK = ("backbone.name=resnet50", "backbone.norm=frozen")


def arguments(config: str, options: list[str]) -> list[str]:
    """Return the arguments of `cyclic` for the options of a training program.

    >>> arguments("ccrcc_cpu.yaml", ["--dataset", "DIR", "--out", "RUN", "--cycles", "2"])[3:]
    ['--data', 'DIR', '--out', 'RUN', '--set', 'cycles=2']

    Args:
        config: the file in `configs/` that lies below all others; a run that goes on has its own.
        options: --weights and --cycles are translated, --dataset is another name of --data; the rest is passed on.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dataset", "--data", dest="data")
    parser.add_argument("--weights")
    parser.add_argument("--cycles")
    given, rest = parser.parse_known_args(options)
    own_config = any(option.partition("=")[0] == "--config" for option in rest)
    settings = [f"cycles={given.cycles}"] if given.cycles is not None else []
    configs = ["--config", str(CONFIGS / config)]
    if given.weights == "last":
        rest.append("--resume")
        # A run goes on with its own settings, whatever it was begun with.
        configs = configs if own_config else []
    elif given.weights is not None:
        settings += SCRATCH if given.weights == "none" else [f"backbone.weights={given.weights}"]
        if given.weights in ("coco", "imagenet") and not own_config:
            settings += PUBLIC_NETWORK
    data = [] if given.data is None else ["--data", given.data]
    overrides = [part for setting in settings for part in ("--set", setting)]
    return ["train", *configs, *data, *rest, *overrides]


def train(config: str, options: list[str]) -> None:
    """Run `cyclic train`, and leave the process with its exit code."""
    main(arguments(config, options))
