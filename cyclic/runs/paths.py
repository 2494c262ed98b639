"""Every path of a run directory, once.

    RUN/
      config.yaml  data.json  log.jsonl  state.json  metrics.json  report.html  best.weights.h5
      doubted_answers.json  tiles/  overlays/  tensorboard/
      cycle_1/
        classifier.weights.h5  model.weights.h5
        maps/<image id>.png
        pseudo/                         pseudo masks that the teacher trains on
        round_0/                        the teacher; round_1, ...: its students
          model.weights.h5
          detections/  predictions/     all detections; those of the run's lowest score and more
          pseudo/                       pseudo masks that this student trains on; none for the teacher

Nothing here reads or makes a file: whoever writes makes the folder.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RoundPaths:
    """One round of a cycle: the folder of the teacher (round 0) or of a student."""

    root: Path

    @property
    def weights(self) -> Path:
        """Weights of the Mask R-CNN after this round."""
        return self.root / "model.weights.h5"

    @property
    def detections(self) -> Path:
        """Folder of all detections, weak ones too."""
        return self.root / "detections"

    @property
    def predictions(self) -> Path:
        """Folder of the predicted label maps."""
        return self.root / "predictions"

    def prediction(self, image_id: str) -> Path:
        """Predicted label map of an image."""
        return self.predictions / f"{image_id}.tif"


@dataclass(frozen=True)
class CyclePaths:
    """One cycle."""

    root: Path

    @property
    def classifier(self) -> Path:
        """Weights of the classifier of this cycle."""
        return self.root / "classifier.weights.h5"

    @property
    def weights(self) -> Path:
        """Weights of the Mask R-CNN at the end of this cycle."""
        return self.root / "model.weights.h5"

    @property
    def maps(self) -> Path:
        """Folder of the activation maps."""
        return self.root / "maps"

    def map(self, image_id: str) -> Path:
        """Activation map of an image."""
        return self.maps / f"{image_id}.png"

    def round(self, number: int) -> RoundPaths:
        """Paths of a round: 0 is the teacher, 1, 2, ... its students."""
        return RoundPaths(self.root / f"round_{number}")

    def rounds(self) -> list[int]:
        """Return the rounds that have begun, ascending."""
        return _numbers(self.root, "round")

    def pseudo(self, round_: int = 0) -> Path:
        """Folder of the pseudo masks that a round trains on; see `cyclic.pseudo.masks`."""
        return (self.root if round_ == 0 else self.round(round_).root) / "pseudo"

    @property
    def cut(self) -> Path:
        """The confidence that the share of all images' candidates came to."""
        return self.pseudo() / "cut.json"


@dataclass(frozen=True)
class RunPaths:
    """A run directory.

    >>> RunPaths(Path("run")).cycle(2).round(0).prediction("image_7").as_posix()
    'run/cycle_2/round_0/predictions/image_7.tif'
    """

    root: Path

    @property
    def config(self) -> Path:
        """Settings of the run."""
        return self.root / "config.yaml"

    @property
    def log(self) -> Path:
        """What happened, a line of JSON an event."""
        return self.root / "log.jsonl"

    @property
    def state(self) -> Path:
        """Finished stages, which `--resume` reads."""
        return self.root / "state.json"

    @property
    def data(self) -> Path:
        """The images of each split and their digests, which a resumed run must find again."""
        return self.root / "data.json"

    @property
    def metrics(self) -> Path:
        """Scores and times."""
        return self.root / "metrics.json"

    @property
    def lock(self) -> Path:
        """Locked while a process writes the run."""
        return self.root / ".lock"

    @property
    def report(self) -> Path:
        """The HTML page."""
        return self.root / "report.html"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's events."""
        return self.root / "tensorboard"

    @property
    def tiles(self) -> Path:
        """Folder of the tiles that the run cut."""
        return self.root / "tiles"

    @property
    def doubted(self) -> Path:
        """The answers that look wrong and were set aside."""
        return self.root / "doubted_answers.json"

    @property
    def best(self) -> Path:
        """Weights of the finished model."""
        return self.root / "best.weights.h5"

    @property
    def overlays(self) -> Path:
        """Folder of the pictures of the images that the last model is shown on."""
        return self.root / "overlays"

    def overlay(self, image_id: str) -> Path:
        """Picture of an image: tissue, prediction and, with labels, errors."""
        return self.overlays / f"{image_id}.png"

    def cycle(self, number: int) -> CyclePaths:
        """Paths of a cycle, 1 for the first."""
        return CyclePaths(self.root / f"cycle_{number}")

    def cycles(self) -> list[int]:
        """Return the cycles that have begun, ascending."""
        return _numbers(self.root, "cycle")


def _numbers(folder: Path, word: str) -> list[int]:
    """Return the numbers of the folders `word_1`, `word_2`, ... in `folder`, ascending."""
    return sorted(int(path.name.split("_")[1]) for path in folder.glob(f"{word}_*") if path.is_dir())
