"""Locks that machines hold against each other: advisory locks of PostgreSQL on one connection of a process.

They end with the connection, so with the process whatever it dies of.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from catalog.database.bounded_connection import BoundedConnection
from catalog.database.postgresql import connect_postgres, connection_error, lock_key
from catalog.postgres_address import PostgresAddress
from oci.errors import CatalogUnavailable, CatalogUnusable

_KEEPALIVE = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "11000",
}
"""The server ends the session of a machine that is gone after some 11 seconds, not after two hours."""
_PATIENCE = 3.0
"""Seconds that the server may take to answer; then the session is given up, and what it holds."""
_PAUSE = 1.0
"""Seconds for which a server that did not answer is not asked."""


class SessionLocks:
    """All locks of one process; usable from any thread, not on an event loop. The connection is made for the first of them."""

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._guard = threading.Lock()
        self._connection: BoundedConnection | None = None
        self._held: set[str] = set()
        self._failed_at = float("-inf")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the one thread that asks; raise CatalogUnavailable where others wait for the server in vain."""
        if not self._guard.acquire(timeout=2 * _PATIENCE):
            raise CatalogUnavailable(f"{self._address.place} has not answered others for {2 * _PATIENCE:g} seconds")
        try:
            yield
        finally:
            self._guard.release()

    def try_lock(self, name: str) -> bool:
        """Take a lock unless somebody has it, this process included; raise CatalogUnavailable."""
        with self._turn():
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
            self._connection = self._connect()
        row = self._connection.execute(sql, (value,)).fetchone()
        return bool(row and row[0])

    def _connect(self) -> BoundedConnection:
        if time.monotonic() - self._failed_at < _PAUSE:
            raise CatalogUnavailable(f"{self._address.place} did not answer a moment ago")
        try:
            connection = connect_postgres(self._address, purpose="locks", **_KEEPALIVE)
        except CatalogUnusable:
            self._failed_at = time.monotonic()
            raise
        connection.patience = _PATIENCE
        return connection

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
