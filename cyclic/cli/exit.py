"""From the arguments to the exit code, with one line on standard error for whatever went wrong.

Exit code 0: done, 2: bad input or wrong use, 130 or 143: stopped by Ctrl-C or SIGTERM, 141: the reader of the output
left, 1: a defect.
"""

import errno
import io
import logging
import os
import re
import sys
import warnings
from typing import TextIO

import typer

from cyclic.cli.commands import app
from cyclic.cli.memory import MEMORY, is_want_of_memory
from cyclic.cli.options import UsageError
from cyclic.cli.stopping import Interrupted, Stopped, signals_stop
from cyclic.errors import InputError
from cyclic.files import FULL, cure

# Disk full, no right to write, a file where a folder should be: the user's to repair, not a defect.
USERS_ERRNO = {*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}
# What was there a moment ago, and a disk or network drive that fails.
VANISHED_ERRNO = {errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENOTCONN}
# What a shell shows of a program that SIGPIPE, number 13, ends; Windows has no such signal.
READER_LEFT = 128 + 13
# What a shell makes of "$OUT" and --out="$OUT" where OUT is not set.
NO_VALUE = re.compile("(--[a-z-]+=)?")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    # Whoever closed an output wants nothing of it. Without these, files of ours would get its number.
    sys.stdout, sys.stderr = sys.stdout or open(os.devnull, "w"), sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # a broken file is one line, and that is ours
    # What the encoding of the output lacks, or a file name that is no text, is shown as its code and ends no command.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(exit_code((sys.argv[1:] if arguments is None else arguments) or ["--help"]))


def exit_code(arguments: list[str]) -> int:
    """Run a command, say in one line what stopped it, and return its exit code."""
    # A path without a character is the working folder, which nobody means.
    if any(NO_VALUE.fullmatch(argument) for argument in arguments):
        return _fail("an empty argument; give its value, and look whether a variable of the shell is not set")
    try:
        with warnings.catch_warnings(), signals_stop():
            warnings.showwarning = _show_warning
            return app(arguments, prog_name="cyclic", standalone_mode=False) or 0
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "cyclic"
        return _fail(f"{error.format_message().rstrip('.')}; see {command} --help")
    except (InputError, FloatingPointError) as error:
        return _fail(str(error))
    except Interrupted as error:
        return _fail(str(error), error.code)
    except SystemExit:  # Typer's answer to an output whose reader left, such as head
        return READER_LEFT
    except (Stopped, KeyboardInterrupt, typer.Abort) as error:
        anew = "stopped; no file is half written, and the same command begins anew"
        return _fail(anew, Interrupted(anew, error).code)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return _fail(MEMORY)
        if error.errno in VANISHED_ERRNO and error.filename:
            return _fail(f"{error.filename}: {error.strerror}; restore it, and run the command again")
        if error.errno == errno.ENOENT and not _working_folder_is_there():
            return _fail("the working folder is gone; change to one that is there, and run the command again")
        if error.errno not in USERS_ERRNO:
            raise
        return _fail(f"{error.filename or 'output'}: {error.strerror}; {cure(error)}")
    except Exception as error:
        if not is_want_of_memory(error):
            raise
        return _fail(MEMORY)


def _working_folder_is_there() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line; those that are for developers are not shown."""
    if issubclass(category, UserWarning):
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)


def _fail(message: str, code: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
