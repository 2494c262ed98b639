"""Keep freed memory in the process, so that every training step does not fetch it from the system again."""

import ctypes
import functools
import platform

# Parameters of glibc's mallopt, see malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8
NEVER = 2**31 - 1


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL("libc.so.6") if platform.libc_ver()[0] == "glibc" else None


def release_freed_memory() -> None:
    """Give what was kept back to the system, for when blocks of other sizes follow that do not fit into it."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


@functools.cache
def keep_freed_memory() -> bool:
    """Have glibc serve blocks of every size from one heap and never return the heap's end to the system.

    Feature maps are larger than glibc's own limit for blocks that come from the system and go back to it at once; each
    time, the system zeroes them page by page when they are first touched. A training step at 512 x 512 took up to two
    million such page faults. The limit cannot be raised over 32 MiB, which a batch of tiles in the classifier exceeds,
    so there is none. One heap for all threads keeps freed blocks where the next one can use them. Nothing changes where
    the C library is another one.

    Returns:
        True if the C library took the settings.
    """
    libc = _glibc()
    if libc is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, NEVER), (M_ARENA_MAX, 1))
    return all([libc.mallopt(parameter, value) for parameter, value in settings])
