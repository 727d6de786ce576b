"""What both engines do, and the SQL that both understand.

Statements have `?` for parameters, and keep to what SQLite and PostgreSQL share: `ON CONFLICT`, `RETURNING`, row values; no
`INSERT OR …`, no `iif`, no `rowid`. Columns are TEXT, BIGINT, DOUBLE PRECISION or BYTEA. Only a table's definition is written
twice (`Schema`).
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Row = tuple[Any, ...]


class StatementResult(Protocol):
    """What a statement has found or done."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Transaction(Protocol):
    """A transaction that is open."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> StatementResult: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> object:
        """Run one statement for each row. PostgreSQL may get them with the next statement or the COMMIT, and fail only then."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A tenant's tables: statements, separated by semicolons, that take them from each number to the next, for each engine.

    PostgreSQL's steps after the first only add, and what they add may be left out: replicas of the release before go on beside.
    """

    name: str
    sqlite: tuple[str, ...]
    postgresql: tuple[str, ...]


class Database(Protocol):
    """Usable from any thread; what a transaction has written is durable when it ends.

    Raises CatalogUnusable, StorageFull for a full disk, CatalogUnavailable while PostgreSQL does not answer.
    """

    @property
    def place(self) -> str:
        """Return where it is, for messages."""

    @property
    def is_shared(self) -> bool:
        """Return whether several machines use it."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a question."""

    def transaction(self, locks: Iterable[str] = ()) -> AbstractContextManager[Transaction]:
        """Change the database; undone when an error leaves it.

        With SQLite a transaction is alone. With PostgreSQL it is alone among those that have one of its `locks`; it sees at
        each statement what others have committed.
        """

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement as a transaction of its own; return how many rows it has changed.

        PostgreSQL may get it twice, where the connection breaks: let it be one that can be repeated.
        """

    def lock_free(self, transaction: Transaction, names: Iterable[str]) -> set[str]:
        """Lock names until a transaction ends, without waiting; return those that no other transaction has locked.

        With SQLite, all of them.
        """

    def close(self) -> None:
        """Close all connections."""


def placeholders(values: Sequence[object]) -> str:
    """Return `?, ?, …`, one for each of 1 to 500 values, for an IN list."""
    return ", ".join("?" * len(values))


def statements(text: str) -> list[str]:
    """Return the statements of one step of a schema."""
    return [part.strip() for part in text.split(";") if part.strip()]
