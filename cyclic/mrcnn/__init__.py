"""Mask R-CNN on Keras 3 with Matterport's names and calls."""
