"""Semi-supervised training of Mask R-CNN: pseudo masks in, ignore regions respected, confident detections joining."""
