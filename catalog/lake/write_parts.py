"""Batches of which one member may be refused: the others are written all the same."""

from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")
_FAILURES = 20
"""Failures after which, if nothing could be written, it is the catalogue that fails and not a member."""


def write_in_parts(items: Sequence[_T], write: Callable[[Sequence[_T]], None]) -> list[_T]:
    """Write all items together; where that fails, half and half down to single ones. Return those that are refused alone.

    Raises what `write` raises when nothing can be written.
    """
    refused: list[_T] = []
    waiting, written, failures = [items], 0, 0
    while waiting:
        part = waiting.pop()
        try:
            write(part)
            written += len(part)
        except Exception:
            failures += 1
            if not written and (failures >= _FAILURES or len(items) == 1):
                raise
            if len(part) == 1:
                refused += part
                continue
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
    return refused
