"""A session on DuckLake's SQLite file. Only a process without DuckDB may open it here: two SQLite libraries lose commits."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from catalog.lake.direct.append import Cell
from catalog.lake.direct.columns import LakeColumn

_LONGEST_LOG = 64 * 1024 * 1024
"""Bytes that the write-ahead log keeps of the disk when it has been emptied."""


class SqliteSession:
    """See `transaction.Session`."""

    def __init__(self, file: Path, *, busy_timeout: float) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=busy_timeout, cached_statements=256)
        if self._connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
            raise sqlite3.OperationalError(f"{file} cannot use a write-ahead log")
        self._connection.execute("PRAGMA synchronous=FULL")  # as DuckDB's own: a commit outlasts a power cut
        self._connection.execute(f"PRAGMA journal_size_limit={_LONGEST_LOG}")
        self.execute, self.executemany = self._connection.execute, self._connection.executemany

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(sqlite3.OperationalError):  # a failed COMMIT may have ended the transaction
                self.execute("ROLLBACK")
            raise

    def batch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.execute("COMMIT")

    def names(self, table: str) -> list[str]:
        return [row[1] for row in self.execute(f'PRAGMA table_info("{table}")')]

    def encode(self, columns: Sequence[LakeColumn], rows: Sequence[tuple[Cell, ...]]) -> Sequence[Sequence[Any]]:  # noqa: ARG002
        return rows

    def close(self) -> None:
        self._connection.close()
