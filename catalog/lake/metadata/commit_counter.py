"""A counter in shared memory that tells every process, in well under a microsecond, whether anything was committed.

It is a file of eight bytes, mapped. The writer, who holds the write lock, makes it odd before it commits and even, and
larger, afterwards. (A second SQLite library in this process, asked for `PRAGMA data_version`, would share neither locks
nor view with DuckDB's own: https://www.sqlite.org/howtocorrupt.html section 2.2.1.)
"""

import mmap
import os
from pathlib import Path

_BYTES = 8


class Sequence:
    """The mapped counter; `value` may be read from any thread."""

    def __init__(self, file: Path) -> None:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < _BYTES:
                os.pwrite(descriptor, bytes(_BYTES), 0)  # no hole: a write to one on a full disk kills the process
            self._map = mmap.mmap(descriptor, _BYTES)
        finally:
            os.close(descriptor)
        self._view = memoryview(self._map)
        self._cell = self._view.cast("Q")

    @property
    def value(self) -> int:
        """The counter: odd while a commit is under way, or was when its process died."""
        return self._cell[0]

    def begin(self) -> int:
        """Make the counter odd; return what to `restore` when nothing is committed after all."""
        before = self._cell[0]
        self._cell[0] = before | 1
        return before

    def restore(self, value: int) -> None:
        """Undo `begin`."""
        self._cell[0] = value

    def take_over(self) -> None:
        """Make the odd counter of a dead writer another odd one: its fencing token is stale, and a commit is still under way."""
        self._cell[0] = (self._cell[0] | 1) + 2

    def finish(self) -> int:
        """Make the counter even and larger than before; return it."""
        self._cell[0] = (self._cell[0] | 1) + 1
        return self._cell[0]

    def close(self) -> None:
        """Unmap the file."""
        self._cell.release()
        self._view.release()
        self._map.close()
