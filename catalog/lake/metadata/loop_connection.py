"""Asks PostgreSQL for the newest snapshot on an event loop: no thread takes part, which would cost more than the question."""

from typing import Any

import psycopg
import psycopg.conninfo

from catalog.database.postgresql import connection_error
from catalog.lake.metadata.position import SnapshotPosition
from catalog.postgres_address import PostgresAddress

NEWEST = "SELECT max(snapshot_id) FROM public.ducklake_snapshot"


class LoopConnection:
    """A connection of one event loop, opened when it is first needed and again when it was lost, or while a question hangs."""

    def __init__(self, address: PostgresAddress, position: SnapshotPosition) -> None:
        self._address, self._position = address, position
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def confirm(self) -> None:
        """Make the position cover all that was committed before the call; raise CatalogUnavailable.

        Where the server has ended the connection since, a new one is asked.
        """
        try:
            is_new = self._connection is None
            try:
                newest = await self._ask()
            except psycopg.OperationalError:
                if is_new:
                    raise
                newest = await self._ask()
        except psycopg.OperationalError as error:
            raise connection_error(self._address, error) from error
        self._position.advance(newest)

    async def _ask(self) -> int:
        connection, self._connection = self._connection, None  # nobody else asks by it meanwhile
        try:
            if connection is None:
                address = psycopg.conninfo.make_conninfo(**self._address.parameters(), application_name="entrepot")
                connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
            cursor = await connection.execute(NEWEST, prepare=True)
            row = await cursor.fetchone()
        except BaseException:  # a question that was given up on leaves its answer on the way
            if connection is not None:
                connection.pgconn.finish()
            raise
        self.close()
        self._connection = connection
        return int(row[0] or 0) if row else 0

    def close(self) -> None:
        """Close the connection, on whatever thread."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()
