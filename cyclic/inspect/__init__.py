"""What the notebooks in `samples/notebooks` show, a module for each: pictures and tables.

Importing it imports Keras and keeps TensorFlow quiet: a notebook shows its messages in red above the first picture.
"""

import logging
import os
import sys


def _import_keras_quietly() -> None:
    """Import Keras without TensorFlow's messages, now and later."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow warns where one network sees images of several sizes. `inspect.model` does that on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if "keras" in sys.modules:
        return
    # While it is imported, native code writes to standard error whatever its log level is.
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import keras  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


_import_keras_quietly()
