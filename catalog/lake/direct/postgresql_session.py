"""A session on DuckLake's tables in PostgreSQL; what it reads travels in one pipeline, and what it writes in another.

DuckLake keeps inlined texts as bytes there, and times and nested values as text.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from catalog.database.postgresql import translate
from catalog.lake.direct.append import Cell
from catalog.lake.direct.columns import LakeColumn

_SYSTEM = 3
_NAMES = (
    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
)


class PostgresSession:
    """See `transaction.Session`. The connection is whoever's holds the write lock: without the lock there is no commit.

    `after_commit` is a statement that travels with COMMIT, and is run when that has succeeded.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", *, after_commit: str) -> None:
        self._connection, self._after_commit = connection, after_commit

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(psycopg.OperationalError):
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def batch(self) -> Iterator[None]:
        with self._connection.pipeline():
            yield

    def begin(self) -> None:
        self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")

    def commit(self) -> None:
        self._connection.execute("COMMIT")
        self._connection.execute(self._after_commit)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "psycopg.Cursor[Any]":
        return self._connection.execute(translate(sql), parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.cursor().executemany(translate(sql), rows)

    def names(self, table: str) -> list[str]:
        return [row[0] for row in self._connection.execute(_NAMES, (f'"{table}"',))]

    def encode(self, columns: Sequence[LakeColumn], rows: Sequence[tuple[Cell, ...]]) -> Sequence[Sequence[Any]]:
        texts = [place for place, column in enumerate(columns, _SYSTEM) if column.type == "varchar"]
        truths = [place for place, column in enumerate(columns, _SYSTEM) if column.type == "boolean"]
        encoded: list[list[Any]] = [list(row) for row in rows]
        for row in encoded:
            for place in texts:
                if row[place] is not None:
                    row[place] = row[place].encode()
            for place in truths:
                if row[place] is not None:
                    row[place] = bool(row[place])
        return encoded

    def close(self) -> None:
        """Do nothing: the connection is the lock's."""
