"""Asks PostgreSQL for the newest snapshot on an event loop: no thread takes part, which would cost more than the question."""

from contextlib import suppress
from typing import Any

import psycopg
import psycopg.conninfo

from catalog.database.postgresql import connection_error
from catalog.lake.metadata.listener import SnapshotPosition
from catalog.postgres_address import PostgresAddress

NEWEST = "SELECT max(snapshot_id) FROM public.ducklake_snapshot"


class LoopConnection:
    """A connection of one event loop, opened when it is first needed and again when it was lost. One question at a time."""

    def __init__(self, address: PostgresAddress, position: SnapshotPosition) -> None:
        self._address, self._position = address, position
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def confirm(self) -> None:
        """Make the position cover all that was committed before the call; raise CatalogUnavailable."""
        try:
            if self._connection is None:
                address = psycopg.conninfo.make_conninfo(**self._address.parameters(), application_name="entrepot")
                self._connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
            cursor = await self._connection.execute(NEWEST, prepare=True)
            row = await cursor.fetchone()
        except BaseException as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(psycopg.Error):
                    await connection.close()
            if isinstance(error, psycopg.OperationalError):
                raise connection_error(self._address, error) from error
            raise
        self._position.advance(int(row[0] or 0) if row else 0)
