"""A connection to PostgreSQL that gives up on a server that does not answer: a stopped one keeps its connections open."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

_INTERVAL = 0.1
"""Seconds after which a statement under way is looked at."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection each of whose statements ends within `patience` seconds, None: whenever the server answers.

    One that takes longer ends the connection, and raises psycopg.OperationalError: what the server did is not known.
    """

    patience: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        """Wait for a statement."""
        if self.patience is None:
            return super().wait(gen, interval, timeout) if timeout is not None else super().wait(gen, interval)
        return super().wait(self._bounded(gen, self.patience), interval)

    def _bounded(self, gen: PQGen[RV], patience: float) -> PQGen[RV]:
        end = time.monotonic() + patience
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > end:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {patience:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as ended:
            return ended.value  # type: ignore[no-any-return]

    @contextmanager
    def bounded(self, patience: float) -> Iterator[None]:
        """Have the statements of the context end within so many seconds each."""
        before, self.patience = self.patience, patience
        try:
            yield
        finally:
            self.patience = before
