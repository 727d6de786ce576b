"""PostgreSQL: state that any number of machines share.

The tenants' tables lie in the schema `entrepot` of the database whose schema `public` holds DuckLake's bookkeeping.
"""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import sql as composed
from psycopg_pool import ConnectionPool, PoolTimeout

from catalog.database.bounded_connection import BoundedConnection
from catalog.database.engine import Row, Schema, Transaction, statements
from catalog.database.migration_mark import MARK_SQL, parse_mark
from catalog.postgres_address import PostgresAddress
from oci.errors import CatalogMoved, CatalogUnavailable, CatalogUnusable

logging.getLogger("psycopg").setLevel(logging.ERROR)  # whoever asks gets an error, and tells of it

SCHEMA = "entrepot"
_CONNECTIONS = 8
"""Connections of one process at most; who finds none waits."""
_WAIT = 2.0
"""Seconds that somebody waits for a connection."""
_SESSION = {
    "search_path": SCHEMA,
    "lock_timeout": "30s",
    # A machine that is gone, or a process that stands still, gives back its locks.
    "idle_in_transaction_session_timeout": "10min",
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""Settings of the pool's sessions."""


def lock_key(name: str) -> int:
    """Return the 64 bits by which an advisory lock is known."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


@lru_cache(512)
def translate(sql: str) -> bytes:
    """Return a statement with psycopg's placeholders in the place of `?`."""
    return sql.replace("%", "%%").replace("?", "%s").encode()


def connect_postgres(address: PostgresAddress, *, purpose: str = "", **session: str) -> BoundedConnection:
    """Return a connection of one's own, in autocommit; `session` are settings, `purpose` is what the server lists it under.

    Raises CatalogUnavailable or CatalogUnusable.
    """
    arguments = _arguments(address, session)
    if purpose:
        arguments["application_name"] += f" {purpose}"
    try:
        return BoundedConnection.connect(**arguments, autocommit=True)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise connection_error(address, error) from error


def _arguments(address: PostgresAddress, session: dict[str, str]) -> dict[str, str]:
    options = " ".join(f"-c {name}={value}" for name, value in session.items())
    return {**address.parameters(), "options": options, "application_name": "entrepot"}


def connection_error(address: PostgresAddress, error: Exception) -> CatalogUnusable:
    """Return what an error of the connection is told as: a wrong login does not pass by itself."""
    text = str(error).strip().partition("\n")[0]
    is_refused = isinstance(error, psycopg.OperationalError) and (
        error.sqlstate in ("28P01", "28000", "3D000") or "authentication failed" in text or "does not exist" in text
    )
    kind = CatalogUnusable if is_refused else CatalogUnavailable
    return kind(f"cannot use {address.place}: {text}")


def make_schema(connection: "psycopg.Connection[Row]") -> None:
    """Make the schema `entrepot` and its table of versions where they are missing."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key("schema"),))  # two cannot make it at once
        connection.execute(composed.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(composed.Identifier(SCHEMA)))
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.schema_versions (name TEXT PRIMARY KEY, number BIGINT NOT NULL)"
        )


class _Transaction:
    """An open transaction with the statements of both engines."""

    def __init__(self, cursor: "psycopg.Cursor[Row]") -> None:
        self._cursor = cursor
        self._unsent: list[tuple[bytes, Sequence[Sequence[Any]]]] = []

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "psycopg.Cursor[Row]":
        self._send()
        return self._cursor.execute(translate(sql), parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._unsent.append((translate(sql), list(rows)))

    def commit(self) -> None:
        """Commit; what was not sent yet travels with it."""
        if not self._unsent:
            self._cursor.execute("COMMIT")
            return
        with self._cursor.connection.pipeline():
            self._send()
            self._cursor.execute("COMMIT")

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for sql, rows in unsent:
            self._cursor.executemany(sql, rows)

    def copy(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write many rows by `COPY … FROM STDIN`."""
        self._send()
        with self._cursor.copy(sql.encode()) as copying:
            for row in rows:
                copying.write_row(row)


class _Pool(ConnectionPool[BoundedConnection]):
    """A pool that does not wait for connections which hang."""

    @staticmethod
    def check_connection(conn: BoundedConnection) -> None:
        """Raise psycopg.OperationalError where the server does not answer at once."""
        with conn.bounded(_WAIT / _CONNECTIONS):
            conn.execute(b"")


class PostgresDatabase:
    """The pool that all tenants of one process share; see `engine.Database`."""

    is_shared = True

    def __init__(self, address: PostgresAddress, *, connections: int = _CONNECTIONS, is_arriving: bool = False) -> None:
        """Connect, and make the schema `entrepot` where it is missing. `is_arriving`: a migration puts its content in.

        Raises CatalogMoved where a migration has not ended, except to the migration.
        """
        self.address, self.is_arriving = address, is_arriving
        with connect_postgres(address) as connection:
            try:
                is_there = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone()
                if is_there is None:
                    make_schema(connection)
                self._check_mark(connection)
            except psycopg.OperationalError as error:  # the server has ended the session meanwhile
                raise connection_error(address, error) from error
        self._pool = _Pool(
            connection_class=BoundedConnection,
            kwargs={**_arguments(address, _SESSION), "autocommit": True},
            min_size=1,
            max_size=connections,
            timeout=_WAIT,
            max_idle=300,
            reconnect_timeout=_WAIT,
            name="entrepot",
            open=True,
        )

    def _check_mark(self, connection: "psycopg.Connection[Row]") -> None:
        row = connection.execute(MARK_SQL.encode()).fetchone()
        mark = parse_mark(row[0] if row else None, self.place)
        if mark is not None and mark.state == "arriving" and not self.is_arriving:
            mark.check(self.place)

    @property
    def place(self) -> str:
        return self.address.place

    def migrate(self, schema: Schema) -> None:
        """Bring a tenant's tables up to date. Those of a newer release are used as they are: steps only add."""
        with self.transaction([f"schema {schema.name}"]) as connection:
            row = connection.execute("SELECT number FROM schema_versions WHERE name = ?", (schema.name,)).fetchone()
            found = row[0] if row else 0
            if found >= len(schema.postgresql):
                return
            for step in schema.postgresql[found:]:
                for statement in statements(step):
                    connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_versions VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET number = excluded.number",
                (schema.name, len(schema.postgresql)),
            )

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._lent(translate(sql), parameters) as (_, cursor):
            return cursor.fetchall()

    @contextmanager
    def transaction(self, locks: Iterable[str] = ()) -> Iterator[_Transaction]:
        keys = sorted(set(map(lock_key, locks)))  # in one order, so that no two wait for each other
        with self._lent(b"BEGIN") as (connection, cursor):
            try:
                if keys:
                    cursor.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) key", (keys,))
                transaction = _Transaction(cursor)
                yield transaction
                transaction.commit()
            except BaseException:
                with suppress(psycopg.OperationalError):  # the connection is gone, and the transaction with it
                    connection.execute("ROLLBACK")
                raise

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        with self._lent(translate(sql), parameters) as (_, cursor):
            return cursor.rowcount

    @staticmethod
    def lock_free(transaction: Transaction, names: Iterable[str]) -> set[str]:
        wanted = list(names)
        found = transaction.execute(
            "SELECT name FROM unnest(?::text[], ?::bigint[]) AS wanted (name, key) WHERE pg_try_advisory_xact_lock(key)",
            (wanted, [lock_key(name) for name in wanted]),
        )
        return {row[0] for row in found.fetchall()}

    @contextmanager
    def _lent(
        self, first: bytes, parameters: Sequence[Any] = ()
    ) -> "Iterator[tuple[BoundedConnection, psycopg.Cursor[Row]]]":
        """Lend a connection with a cursor that has made a first statement, by a second one where the server has ended it."""
        try:
            connection, cursor = self._lend(first, parameters)
            try:
                yield connection, cursor
            except psycopg.errors.ReadOnlySqlTransaction:
                connection.close()
                raise
            finally:
                self._pool.putconn(connection)
        except psycopg.errors.RaiseException as error:  # of the triggers by which a migration ends
            raise CatalogMoved(str(error).partition("\n")[0]) from None
        except psycopg.errors.ReadOnlySqlTransaction as error:  # the server has become a standby
            raise connection_error(self.address, error) from error
        except psycopg.errors.DiskFull as error:
            raise CatalogUnusable(f"{self.place} has no room left: {error}") from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise connection_error(self.address, error) from error

    def _lend(self, first: bytes, parameters: Sequence[Any]) -> "tuple[BoundedConnection, psycopg.Cursor[Row]]":
        connection = self._pool.getconn()
        try:
            return connection, connection.execute(first, parameters)
        except psycopg.OperationalError:
            self._pool.putconn(connection)
            if not connection.closed:
                raise
        except BaseException as error:
            if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                connection.close()
            self._pool.putconn(connection)
            raise
        self._pool.check()  # the server has ended others too
        connection = self._pool.getconn()
        try:
            return connection, connection.execute(first, parameters)
        except BaseException:
            self._pool.putconn(connection)
            raise

    def close(self) -> None:
        self._pool.close()
