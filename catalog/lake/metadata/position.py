"""What one process knows of commits in PostgreSQL, and how it makes certain of it."""

import threading
import time
from collections.abc import Callable

from oci.errors import CatalogUnavailable, CatalogUnusable, CatalogWentBack

_PAUSE = 1.0
"""Seconds for which a database that did not answer is not asked."""


class SnapshotPosition:
    """The newest snapshot that this process knows of, as an even number."""

    def __init__(self) -> None:
        self._value, self._certain, self._guard = 0, 0, threading.Lock()
        self._fault: CatalogWentBack | None = None

    @property
    def value(self) -> int:
        """Return twice the snapshot's number. No I/O."""
        return self._value

    @property
    def certain(self) -> int:
        """Return the newest snapshot that was read in the database, or written there by this process. No I/O."""
        return self._certain

    def advance(self, snapshot_id: int) -> None:
        """Know of a snapshot for certain."""
        with self._guard:
            self._value = max(self._value, snapshot_id * 2)
            self._certain = max(self._certain, snapshot_id)

    def believe(self, snapshot_id: int) -> None:
        """Know of a snapshot by what was notified: whoever may connect may notify."""
        with self._guard:
            self._value = max(self._value, snapshot_id * 2)

    def learn(self, snapshot_id: int, known: int, place: str) -> None:
        """Know of what the database says is the newest; raise CatalogWentBack where that is older than `known`.

        `known` is what was `certain` before the question. Once raised, it is raised for ever: new commits of others will reach
        the same numbers, and say something else.
        """
        if self._fault is None and snapshot_id < known:
            self._fault = went_back(place, known, snapshot_id)
        if self._fault is not None:
            raise CatalogWentBack(self._fault.message)
        self.advance(snapshot_id)


def went_back(place: str, known: int, found: int) -> CatalogWentBack:
    """Return what to say of a database that lost commits: nothing that memory knows may be mixed with what comes there now."""
    return CatalogWentBack(
        f"{place} went back from snapshot {known} to {found}, as after a restore or the loss of a server; restart this process"
    )


class Confirmer:
    """Asks for the newest snapshot. One question answers all who have come before it was sent."""

    def __init__(self, ask: Callable[[], object], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`ask` makes a position know the newest; it raises CatalogUnusable."""
        self._ask, self._monotonic = ask, monotonic
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
            self._ask()
            error = None
        except CatalogUnusable as failure:
            error = failure
            raise
        finally:
            with self._turn:
                self._answered, self._error = number, error
                self._failed_at = self._monotonic()
                self._turn.notify_all()
