"""Nuclei instance segmentation from image-level labels (Cyclic Learning) on Keras 3."""

__version__ = "0.1.0"
