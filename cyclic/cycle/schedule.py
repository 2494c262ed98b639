"""How long and how fast each network trains, by cycle and round."""

from dataclasses import dataclass

from cyclic.config import RunConfig

# Training steps between two reports of the losses, at most.
STEPS_PER_EPOCH = 100
# Warm-up of the classifier: at most this many steps, and at most this share of the training.
CLASSIFIER_WARMUP, WARMUP_SHARE = 50, 10


@dataclass(frozen=True)
class Training:
    """One training of a network.

    Attributes:
        epochs: epochs of `steps_per_epoch` steps.
        steps_per_epoch: training steps of an epoch.
        learning_rate: the peak.
        warmup: steps until the peak.
    """

    epochs: int
    steps_per_epoch: int
    learning_rate: float
    warmup: int = 0

    @property
    def steps(self) -> int:
        """Training steps in all."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Schedule:
    """The trainings of a run.

    Attributes:
        config: settings of the run.
    """

    config: RunConfig

    @property
    def rounds(self) -> int:
        """Rounds of a cycle: the teacher and its students."""
        return self.config.rounds.students + 1

    def classifier(self, cycle: int) -> Training:
        """Return the classifier's training; without `later_steps` it grows with the cycle (paper)."""
        settings = self.config.classifier
        if cycle == 1 and self.config.start is None:
            steps, rate = settings.steps, settings.learning_rate
        else:
            steps, rate = settings.later_steps or settings.steps * cycle, settings.later_learning_rate
        return Training(1, steps, rate, min(CLASSIFIER_WARMUP, steps // WARMUP_SHARE))

    @property
    def judge(self) -> Training:
        """The training of a classifier that judges answers: half as long as the first one of the run."""
        first = self.classifier(1)
        steps = -(-first.steps // 2)
        return Training(1, steps, first.learning_rate, min(first.warmup, steps // WARMUP_SHARE))

    def mask_rcnn(self, cycle: int, round_: int) -> Training:
        """Return the training of a teacher (round 0) or a student.

        Keras trains whole epochs: of a number that divides the steps, or where none is near, as even as they allow.
        """
        settings = self.config.mask_rcnn
        first = (cycle, round_) == (1, 0) and self.config.start is None
        steps = settings.steps if first else settings.later_steps
        least = -(-steps // STEPS_PER_EPOCH)
        epochs = next((number for number in range(least, 2 * least) if steps % number == 0), least)
        rate = settings.learning_rate if first else settings.later_learning_rate
        return Training(epochs, round(steps / epochs), rate)

    def rounds_before(self, cycle: int, round_: int = 0) -> int:
        """Return how many rounds come before this one: the step of its scores and pictures in TensorBoard."""
        return (cycle - self.config.first_cycle) * self.rounds + round_
