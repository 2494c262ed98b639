"""The trained model that a run goes on from, as its cycle 0."""

from cyclic.cycle.context import Context
from cyclic.cycle.stages import detections


def take(context: Context) -> None:
    """Write the weights of the model and of its classifier as those of cycle 0."""
    start, zero = str(context.config.start), context.cycle(0)
    context.models.load(start)
    context.models.save_mask_rcnn(zero.weights)
    context.models.save_mask_rcnn(context.last_round(0).weights)
    # Its backbone is another one than Mask R-CNN's, in the layers of the same names.
    context.models.load_own_classifier(start)
    context.models.save_classifier(zero.classifier)


def detect(context: Context) -> None:
    """Detect nuclei with it: what it is sure of trains the next cycle, and its scores are those before."""
    detections.make(context, 0, context.config.rounds.students)
