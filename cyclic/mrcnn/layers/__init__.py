"""The network's layers, from backbone features to losses and detections."""
