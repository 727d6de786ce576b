"""The C library's allocator within a process that serves: few arenas, so that what threads have freed is used by others.

Source: glibc's manual, "Malloc Tunable Parameters".
"""

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8
_ARENAS = 2


def bound_arenas() -> None:
    """Have glibc use two arenas at most; do nothing with another C library.

    By itself it makes up to eight for each core, so that threads do not wait for each other. What a thread frees stays in its
    arena: the memory of a process with many threads grows for hours. Call it before threads begin.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
