"""How one process learns of others' commits in PostgreSQL: by notices at once, and by asking when it has to be certain."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from catalog.database.postgresql import connect_postgres
from catalog.postgres_address import PostgresAddress
from oci.errors import CatalogUnavailable, CatalogUnusable

log = logging.getLogger("catalog")
_PAUSE = 1.0
"""Seconds between two tries to listen again, and for which a database that did not answer is not asked."""


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
        self._error: CatalogUnavailable | None = None
        self._failed_at = float("-inf")

    def confirm(self) -> None:
        """Make the position cover all that was committed before; raise CatalogUnavailable, at once for a second after one."""
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
        error: CatalogUnavailable | None = None
        try:
            self._position.advance(self._ask())
        except CatalogUnavailable as failure:
            error = failure
            raise
        finally:
            with self._turn:
                self._answered, self._error = number, error
                self._failed_at = self._monotonic()
                self._turn.notify_all()


class Listener:
    """A thread that hears of snapshots. After a break it asks once, so that none is missed."""

    def __init__(
        self, address: PostgresAddress, channel: str, position: SnapshotPosition, catch_up: Callable[[], None]
    ) -> None:
        self._address, self._channel, self._position, self._catch_up = address, channel, position, catch_up
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to listen."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        is_told = False
        while not self._stopped.is_set():
            try:
                with connect_postgres(self._address) as connection:
                    connection.execute(f"LISTEN {self._channel}")
                    self._catch_up()
                    is_told = False
                    self._hear(connection)
            except (psycopg.Error, CatalogUnusable) as error:
                if not is_told and not self._stopped.is_set():
                    log.warning("no notices of commits: %s", error)
                is_told = True
                self._stopped.wait(_PAUSE)

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        while not self._stopped.is_set():
            for notice in connection.notifies(timeout=_PAUSE):
                with suppress(ValueError):
                    self._position.advance(int(notice.payload))
                if self._stopped.is_set():
                    return

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(5)
