"""Locks that machines hold against each other: advisory locks of PostgreSQL on one connection of a process.

They end with the connection, so with the process whatever it dies of.
"""

import threading
from contextlib import suppress

import psycopg

from catalog.database.engine import Row
from catalog.database.postgresql import connect_postgres, connection_error, lock_key
from catalog.postgres_address import PostgresAddress

_KEEPALIVE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "11000",
}
"""The server ends the session of a machine that is gone after some 11 seconds, not after two hours."""


class SessionLocks:
    """All locks of one process; usable from any thread, not on an event loop. The connection is made for the first of them."""

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._guard = threading.Lock()
        self._connection: psycopg.Connection[Row] | None = None
        self._held: set[str] = set()

    def try_lock(self, name: str) -> bool:
        """Take a lock unless somebody has it, this process included; raise CatalogUnavailable."""
        with self._guard:
            if name in self._held and self._is_connected():
                return False
            is_free = self._ask(b"SELECT pg_try_advisory_lock(%s)", lock_key(name))
            if is_free:
                self._held.add(name)
            return is_free

    def holds(self, name: str) -> bool:
        """Return whether this process has a lock still: asks the server, so use a thread."""
        with self._guard:
            return name in self._held and self._is_connected()

    def unlock(self, name: str) -> None:
        """Give a lock back; one that was lost with its connection is given back already."""
        with self._guard:
            if name in self._held and self._is_connected():
                self._held.discard(name)
                with suppress(psycopg.Error):
                    self._select(b"SELECT pg_advisory_unlock(%s)", lock_key(name))

    def _is_connected(self) -> bool:
        """Return whether the session lives, having asked it; what it held is gone with it."""
        if self._connection is None:
            return False
        try:
            return self._select(b"SELECT %s = 1", 1)
        except psycopg.Error:
            self._drop()
            return False

    def _ask(self, sql: bytes, value: int) -> bool:
        """Ask, a second time by a new connection where the first was lost meanwhile; raise CatalogUnavailable."""
        tries = 1 if self._connection is None else 2
        for number in range(1, tries + 1):
            try:
                return self._select(sql, value)
            except psycopg.OperationalError as error:
                self._drop()
                if number == tries:
                    raise connection_error(self._address, error) from error
        raise AssertionError

    def _select(self, sql: bytes, value: int) -> bool:
        if self._connection is None:
            self._connection = connect_postgres(self._address, **_KEEPALIVE)
        row = self._connection.execute(sql, (value,)).fetchone()
        return bool(row and row[0])

    def _drop(self) -> None:
        self._held.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Give all locks back."""
        with self._guard:
            self._drop()
