"""Nuclei instance segmentation from image-level labels (Cyclic Learning) on Keras 3."""

from cyclic.allocator import keep_freed_memory

__version__ = "0.1.0"

# Before NumPy and TensorFlow start their threads, each of which would get a heap of its own, out of reach of this.
keep_freed_memory()
