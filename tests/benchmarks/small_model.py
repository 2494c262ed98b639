"""Settings of a model that is built and detects in a moment."""

SMALL = (
    "mask_rcnn.width=[16, 16, 16, 16]",
    "detection.max_instances=8",
    "detection.proposals=16",
    "detection.tile=64",
    "detection.overlap=16",
)
