"""The `cyclic` command: `commands.py` lists its subcommands, `exit.py` runs them and ends the process."""

from cyclic.allocator import keep_freed_memory

# Before NumPy and TensorFlow start their threads, each of which would get a heap of its own, out of reach of this.
keep_freed_memory()

from cyclic.cli.commands import app
from cyclic.cli.exit import main

__all__ = ["app", "main"]
