"""How the want of memory is recognised, and what is said of it."""

# What the backends raise where memory ends, and what the system's loader and Python's threads say there.
OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
OUT_OF_MEMORY_SAID = ("failed to map segment", "cannot allocate memory", "can't start new thread")
MEMORY = "not enough memory; close other programs, or lower detection.tile, mask_rcnn.batch and the like"


def is_want_of_memory(error: Exception) -> bool:
    """Return whether an error, of whatever class, says that memory ended."""
    said = str(error).lower() if isinstance(error, ImportError | RuntimeError) else ""
    return type(error).__name__ in OUT_OF_MEMORY or any(text in said for text in OUT_OF_MEMORY_SAID)
