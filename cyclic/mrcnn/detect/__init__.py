"""From images to detections in image pixels."""
