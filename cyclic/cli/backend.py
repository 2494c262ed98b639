"""Starting Keras and its backend, quietly and late."""

import faulthandler
import logging
import os
import resource
import sys

from cyclic.cli.memory import is_want_of_memory
from cyclic.errors import InputError

# In a smaller address space TensorFlow does not start, or waits for ever where it ends.
LEAST_GIB = 4


def start_keras() -> None:
    """Import Keras, without TensorFlow's messages; only the commands that need it pay the seconds this takes.

    Raises:
        InputError: Keras or its backend is not installed, there is no backend of that name, or the limit of this
            process' address space is too low.
    """
    if "keras" in sys.modules:
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_GIB * 2**30:
        raise InputError(
            f"not enough memory: {limit / 2**30:.3g} GiB of address space (ulimit -v), and networks need {LEAST_GIB}; "
            "raise the limit"
        )
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") not in ("0", "1"):
        _mute_native_code()
    try:
        import absl.logging
        import keras
    # Keras raises ValueError for a backend that it does not know, and what it comes across in a broken keras.json.
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        if is_want_of_memory(error):
            raise
        raise InputError(f"Keras cannot be imported ({error}); cyclic doctor names the cure") from error
    # Not what a keras.json of another program says.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    absl.logging.set_verbosity(absl.logging.ERROR)
    # It warns where one network sees images of several sizes, which is meant.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _mute_native_code() -> None:
    """Leave standard error to Python alone: TensorFlow's C++ code writes there whatever its log level is.

    Where native code ends the process, a traceback still shows the place.
    """
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    faulthandler.enable(sys.stderr)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
