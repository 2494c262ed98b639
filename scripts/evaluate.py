"""Score predicted label maps against the true ones: the same as `cyclic evaluate`."""

import sys

from cyclic.cli import main

main(["evaluate", *sys.argv[1:]])
