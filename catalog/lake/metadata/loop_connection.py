"""Asks PostgreSQL for the newest snapshot on an event loop.

No thread takes part, and nothing of psycopg but its connection: either would cost more than the question.
"""

import asyncio
from typing import Any

import psycopg
import psycopg.conninfo
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from catalog.database.postgresql import connection_error
from catalog.lake.metadata.position import SnapshotPosition
from catalog.postgres_address import PostgresAddress

NEWEST = "SELECT max(snapshot_id) FROM public.ducklake_snapshot"
_STATEMENT = "newest_snapshot"


class LoopConnection:
    """A connection of one event loop, opened when it is first needed and again when it was lost, or while a question hangs."""

    def __init__(self, address: PostgresAddress, position: SnapshotPosition) -> None:
        self._address, self._position = address, position
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def confirm(self) -> None:
        """Make the position cover all that was committed before the call; raise CatalogUnavailable.

        Where the server has ended the connection since, or refuses what is asked by it, a new one is asked.
        """
        known = self._position.certain
        try:
            is_new = self._connection is None
            try:
                newest = await self._ask()
            except psycopg.Error:
                if is_new:
                    raise
                newest = await self._ask()
        except psycopg.Error as error:
            raise connection_error(self._address, error) from error
        self._position.learn(newest, known, self._address.place)

    async def _ask(self) -> int:
        connection, self._connection = self._connection, None  # nobody else asks by it meanwhile
        try:
            if connection is None:
                address = psycopg.conninfo.make_conninfo(**self._address.parameters(), application_name="entrepot")
                connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
                await connection.execute(f"PREPARE {_STATEMENT} AS {NEWEST}".encode())
            newest = await _newest(connection.pgconn)
        except BaseException:  # a question that was given up on leaves its answer on the way
            if connection is not None:
                connection.pgconn.finish()
            raise
        self.close()
        self._connection = connection
        return newest

    def close(self) -> None:
        """Close the connection, on whatever thread."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pgconn.finish()


async def _newest(connection: PGconn) -> int:
    """Run the prepared statement; raise psycopg.Error. A caller that gives up must end the connection."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[None] = loop.create_future()
    results: list[PGresult] = []

    def read() -> None:
        if answer.done():
            return
        try:
            connection.consume_input()
            while not connection.is_busy():
                result = connection.get_result()
                if result is None:
                    answer.set_result(None)
                    return
                results.append(result)
        except psycopg.Error as error:
            answer.set_exception(error)

    connection.send_query_prepared(_STATEMENT.encode(), None)
    connection.flush()  # some bytes, of the only question under way: they fit into the socket
    read()  # libpq has read to the end already where the server had closed the connection: nothing more would come
    if not answer.done():
        descriptor = connection.socket
        loop.add_reader(descriptor, read)
        try:
            await answer
        finally:
            loop.remove_reader(descriptor)
    answer.result()
    if not results:
        raise psycopg.OperationalError("the server closed the connection")
    last = results[-1]
    if last.status != ExecStatus.TUPLES_OK:
        raise psycopg.errors.error_from_result(last)
    return int(last.get_value(0, 0) or 0)
