"""What one process knows of commits in PostgreSQL, and how it makes certain of it."""

import threading
import time
from collections.abc import Callable

from oci.errors import CatalogUnavailable, CatalogUnusable

_PAUSE = 1.0
"""Seconds for which a database that did not answer is not asked."""


class SnapshotPosition:
    """The newest snapshot that this process knows of, as an even number."""

    def __init__(self) -> None:
        self._value, self._guard = 0, threading.Lock()

    @property
    def value(self) -> int:
        """Return twice the snapshot's number. No I/O."""
        return self._value

    def advance(self, snapshot_id: int) -> None:
        """Know of a snapshot."""
        with self._guard:
            self._value = max(self._value, snapshot_id * 2)


class Confirmer:
    """Asks for the newest snapshot. One question answers all who have come before it was sent."""

    def __init__(
        self, ask: Callable[[], int], position: SnapshotPosition, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask, self._position, self._monotonic = ask, position, monotonic
        self._turn = threading.Condition()
        self._sent = self._answered = 0
        self._error: CatalogUnusable | None = None
        self._failed_at = float("-inf")

    def confirm(self) -> None:
        """Make the position cover all that was committed before; raise CatalogUnusable, at once for a second after one."""
        with self._turn:
            if self._error is not None and self._monotonic() - self._failed_at < _PAUSE:
                raise self._error.with_traceback(None)
            wanted = self._sent + 1
            while self._answered < wanted and self._sent > self._answered:
                self._turn.wait()
            if self._answered >= wanted:
                if self._error is not None:
                    raise self._error.with_traceback(None)
                return
            self._sent = number = wanted
        error: CatalogUnusable | None = CatalogUnavailable("the question for the newest snapshot failed")
        try:
            self._position.advance(self._ask())
            error = None
        except CatalogUnusable as failure:
            error = failure
            raise
        finally:
            with self._turn:
                self._answered, self._error = number, error
                self._failed_at = self._monotonic()
                self._turn.notify_all()
