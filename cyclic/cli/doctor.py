"""`cyclic doctor`."""

import contextlib

from cyclic.cli.backend import start_keras
from cyclic.cli.table import print_table
from cyclic.errors import InputError


def doctor() -> None:
    """Tell versions, devices, memory and number format, and what is missing with the command that installs it.

    Example: cyclic doctor
    """
    from cyclic.doctor import examine

    with contextlib.suppress(InputError):  # what is missing is what it tells
        start_keras()
    findings = examine()
    print_table([{"what": each.what, "found": each.found, "cure": each.cure} for each in findings])
    missing = [each for each in findings if each.needed and each.cure]
    if missing:
        raise InputError(f"{len(missing)} needed parts are missing or of another version; {missing[0].cure}")
