"""What the notebooks in `samples/` show, a module for each: pictures and tables.

Importing it imports Keras, quietly: TensorFlow's native code writes to standard error whatever its log level is, and a
notebook shows that in red above its first picture.
"""

import os
import sys

if "keras" not in sys.modules:
    _stderr = os.dup(2)
    with open(os.devnull, "w") as _nowhere:
        os.dup2(_nowhere.fileno(), 2)
    try:
        import keras  # noqa: F401
    finally:
        os.dup2(_stderr, 2)
        os.close(_stderr)
