"""SQLite: one file, one machine. Every change is alone among all threads and processes."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from catalog.database.engine import Row, Schema, Transaction, statements
from catalog.database.migration_mark import Allow
from catalog.disk_reserve import Room, no_room
from oci.errors import CatalogUnusable


class SqliteDatabase:
    """One tenant's file; see `engine.Database`."""

    is_shared = False

    def __init__(
        self,
        file: Path,
        schema: Schema,
        *,
        busy_timeout: float = 60.0,
        room: Room | None = None,
        one_reader: bool = False,
        allow: Allow | None = None,
    ) -> None:
        """Open or make the file, and bring its tables up to date.

        `one_reader` for what is seldom read: not one a thread. `allow` is called in each transaction, before its changes.
        """
        self._has_one_reader = one_reader
        self._file, self._busy_timeout, self._room, self._allow = file, busy_timeout, room, allow
        self._connections: list[sqlite3.Connection] = []
        self._local = threading.local()
        self._writing, self._opening, self._looking = threading.Lock(), threading.Lock(), threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._migrate(schema.sqlite)

    @property
    def place(self) -> str:
        return str(self._file)

    def _migrate(self, steps: Sequence[str]) -> None:
        found = self._version(self._writer)
        if found > len(steps):
            raise CatalogUnusable(f"{self._file} was written by a newer release (schema {found}); upgrade entrepot")
        while found < len(steps):
            with self.transaction() as connection:  # another process may have been quicker
                found = self._version(connection)
                if found < len(steps):
                    for statement in statements(steps[found]):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {found + 1}")

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with self._opening:
            self._connections.append(connection)
        return connection

    @cached_property
    def _writer(self) -> sqlite3.Connection:
        """The one connection that writes: it keeps the pages that it wrote, which threads with one each would read again."""
        return self._open()

    @cached_property
    def _looker(self) -> sqlite3.Connection:
        """A connection that never writes: its `data_version` changes with every write of any other."""
        return self._open()

    def mark(self) -> int:
        """Return a number that changes with every write of any process; some microseconds."""
        with self._looking:
            return int(self._looker.execute("PRAGMA data_version").fetchone()[0])

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        if self._has_one_reader:
            with self._looking:
                return self._looker.execute(sql, parameters).fetchall()
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
        return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def transaction(self, locks: Iterable[str] = ()) -> Iterator[sqlite3.Connection]:  # noqa: ARG002  # it is alone
        with self._writing:
            connection = self._writer
            try:
                connection.execute("BEGIN IMMEDIATE")
                if self._allow is not None:
                    self._allow()
                yield connection
                connection.execute("COMMIT")
            except BaseException as error:
                connection.rollback()
                if isinstance(error, sqlite3.OperationalError) and self._room is not None and self._room.is_full():
                    self._room.throw_off()
                    raise no_room(self._file.parent) from error
                raise

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        with self.transaction() as connection:
            return connection.execute(sql, parameters).rowcount

    @staticmethod
    def lock_free(_transaction: Transaction, names: Iterable[str]) -> set[str]:
        return set(names)

    def close(self) -> None:
        with self._opening:
            for connection in self._connections:
                with suppress(sqlite3.Error):
                    connection.close()
            self._connections.clear()
