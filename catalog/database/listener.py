"""Notifications of PostgreSQL: one thread and one connection of a process tell what others have changed."""

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from catalog.database.engine import Row, Transaction
from catalog.database.postgresql import connect_postgres, translate
from catalog.postgres_address import PostgresAddress
from oci.errors import CatalogUnavailable, CatalogUnusable

log = logging.getLogger("catalog")
CHANNEL = "entrepot_state"
_EVERY = 1.0
"""Seconds after which all is looked at again, notified or not: no change is missed for longer."""
_PATIENCE = 5.0
"""Seconds that the server may take to answer; then another connection is tried."""
_PAUSES = (0.0, 0.1, 0.2, 0.5)
"""Seconds before the first tries to connect again; the last of them before all others."""
TRUSTED_FOR = 900.0
"""Seconds for which what is known holds while the database does not answer, so that pulls go on."""

Rows = Callable[[str, Sequence[Any]], list[Row]]
Look = Callable[[Rows, bool], None]
"""Looks at what it knows by the given connection; True after the connection was lost: then nothing that is known counts."""
Take = Callable[[str], bool]
"""Takes a notification that says itself what has changed; returns False for any other, after which everybody looks."""


def notify(connection: Transaction) -> None:
    """Have all listeners look again as soon as this transaction is committed."""
    connection.execute("SELECT pg_notify(?, '')", (CHANNEL,))


class Listener:
    """Calls those that `watch` after each notification that nobody takes, each second, and after the connection was lost.

    The thread begins with the first of them.
    """

    def __init__(self, address: PostgresAddress, *, every: float = _EVERY, trusted_for: float = TRUSTED_FOR) -> None:
        self._address, self._every, self._trusted_for = address, every, trusted_for
        self._looks: list[Look] = []
        self._takes: list[Take] = []
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_ended = self._has_heard = False
        self._wake, self._waker = os.pipe()
        self._looked_at = 0.0

    def watch(self, look: Look, *, take: Take | None = None) -> None:
        """Call `look` from now on, on the listener's thread; the first call by the caller itself is up to the caller.

        `take` is given each notification first.
        """
        with self._guard:
            self._looks.append(look)
            if take is not None:
                self._takes.append(take)
            if self._thread is None:
                self._looked_at = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
                self._thread.start()

    @property
    def looked_at(self) -> float:
        """Return since when nothing was missed: that moment by `time.monotonic`; no I/O."""
        return self._looked_at

    def look(self, rows: Rows) -> None:
        """Look now, on the calling thread by another connection: for when the listener's own is late. Raise CatalogUnusable."""
        begun = time.monotonic()
        for look in list(self._looks):
            look(rows, True)
        self._looked_at = max(begun, self._looked_at)

    def check(self) -> None:
        """Raise CatalogUnavailable when what is known may be too old, since the database does not answer; no I/O."""
        if time.monotonic() - self._looked_at > self._trusted_for:
            raise CatalogUnavailable(f"{self._address.place} has not answered for {self._trusted_for:g} seconds")

    def _run(self) -> None:
        failures = 0
        while not self._is_ended:
            begun = time.monotonic()
            try:
                with connect_postgres(self._address, purpose="listener") as connection, connection.bounded(_PATIENCE):
                    self._follow(connection)
            except (CatalogUnusable, psycopg.Error) as error:
                failures = 0 if self._looked_at > begun else failures + 1
                if failures <= 1:
                    log.warning("listening to the database failed; retrying error=%s", str(error).partition("\n")[0])
            except Exception:  # whatever it is, a retry may succeed; nobody would notice a thread that ended
                failures += 1
                log.exception("listening to the database failed; retrying")
            self._pause(_PAUSES[min(failures, len(_PAUSES) - 1)])

    def _follow(self, connection: "psycopg.Connection[Row]") -> None:
        """Look until the connection is lost or `close` is called; raise psycopg.Error."""
        connection.add_notify_handler(lambda told: self._hear(told.payload))
        connection.execute(f"LISTEN {CHANNEL}".encode())

        def rows(sql: str, parameters: Sequence[Any]) -> list[Row]:
            return connection.execute(translate(sql), parameters).fetchall()

        is_new = True
        while not self._is_ended:
            self._has_heard, begun = False, time.monotonic()
            for look in list(self._looks):
                look(rows, is_new)
            self._take_in(connection)
            self._looked_at, is_new = max(begun, self._looked_at), False
            until = begun + self._every
            while not (self._has_heard or self._is_ended) and (left := until - time.monotonic()) > 0:
                self._wait(connection.fileno(), left)
                self._take_in(connection)  # what it hears is covered by the look that follows

    def _take_in(self, connection: "psycopg.Connection[Row]") -> None:
        """Hear what has been notified; asks nothing. Raise psycopg.OperationalError where the connection is lost."""
        connection.pgconn.consume_input()
        while (told := connection.pgconn.notifies()) is not None:
            self._hear(told.extra.decode())

    def _hear(self, payload: str) -> None:
        if not any(take(payload) for take in list(self._takes)):
            self._has_heard = True

    def _wait(self, descriptor: int, seconds: float) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        poll.poll(seconds * 1000)

    def _pause(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.poll(seconds * 1000)

    def close(self) -> None:
        """End the thread and its connection."""
        with self._guard:
            if self._is_ended:
                return
            self._is_ended = True
        with suppress(OSError):
            os.write(self._waker, b"x")
        if self._thread is not None:
            self._thread.join(10)
            if self._thread.is_alive():  # it uses the pipe, and ends with the process
                return
        os.close(self._wake)
        os.close(self._waker)
