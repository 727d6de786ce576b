"""A cursor of DuckDB for each thread, which does not keep a former instance in memory once its thread is idle."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb


class _Seat:
    """A thread's cursor; `in_use` is held while the thread uses it."""

    def __init__(self) -> None:
        self.in_use = threading.RLock()
        self.cursor: duckdb.DuckDBPyConnection | None = None
        self.root: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Close the cursor; the next use opens another."""
        if self.cursor is not None:
            self.cursor.close()  # an error's traceback may keep it, and it would keep the files open
        self.cursor = self.root = None


class Cursors:
    """The cursors of all threads; each is of the instance that was the newest when its thread last used one."""

    def __init__(self) -> None:
        self._local, self._seats = threading.local(), weakref.WeakSet[_Seat]()

    @contextmanager
    def use(self, root: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield the calling thread's cursor of an instance; no other thread closes it meanwhile."""
        with self._seat.in_use:
            yield self.of(root)

    def of(self, root: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """Return the calling thread's cursor of an instance, for who knows that `close_former` is not called meanwhile."""
        seat = self._seat
        with seat.in_use:
            if seat.cursor is None or seat.root is not root:
                seat.close()
                cursor = root.cursor()
                cursor.execute("USE lake")
                seat.cursor, seat.root = cursor, root
            return seat.cursor

    @property
    def root(self) -> duckdb.DuckDBPyConnection | None:
        """Return the instance that the calling thread has last used."""
        return self._seat.root

    def close_former(self, root: duckdb.DuckDBPyConnection) -> None:
        """Close the cursors of other instances that no thread uses now, so that what those remember is freed."""
        for seat in list(self._seats):
            if seat.in_use.acquire(blocking=False):
                try:
                    if seat.root is not root:
                        seat.close()
                finally:
                    seat.in_use.release()

    def close(self) -> None:
        """Close all cursors."""
        for seat in list(self._seats):
            seat.close()

    @property
    def _seat(self) -> _Seat:
        seat: _Seat | None = getattr(self._local, "seat", None)
        if seat is None:
            seat = self._local.seat = _Seat()
            self._seats.add(seat)
        return seat
