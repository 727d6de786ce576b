"""One direct commit: a transaction on the database that holds DuckLake's bookkeeping.

It writes what DuckDB's writer writes for an append:

1. a row of `ducklake_snapshot`: the next number, and the next file's number moved on by one for each table;
2. the rows themselves, in the table that holds a table's newest inlined rows;
3. the table's counts and its columns' statistics;
4. a row of `ducklake_snapshot_changes`: which tables, who, and the commit's note.

Source: DuckLake specification 1.0, https://ducklake.select/docs/stable/specification/introduction
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from catalog.lake.direct.append import Append, Cell, TablePlan, TableState, plan_append
from catalog.lake.direct.columns import LakeColumn, NotDirect, build_columns, lake_time
from catalog.lake.direct.statistics import Bounds

FORMAT = "1.0"
"""The version of DuckLake's format that is written."""
_SYSTEM = ("row_id", "begin_snapshot", "end_snapshot")

_NEWEST = """SELECT snapshot_id, schema_version, next_catalog_id, next_file_id,
(SELECT max(value) FROM ducklake_metadata WHERE scope IS NULL AND key = 'version'),
(SELECT max(value) FROM ducklake_metadata WHERE scope IS NULL AND key = 'encrypted')
FROM ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1"""
_TABLE = """SELECT t.table_id FROM ducklake_table t JOIN ducklake_schema s ON s.schema_id = t.schema_id
WHERE t.table_name = ? AND s.schema_name = 'main' AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL"""
_COLUMNS = """SELECT column_id, column_name, column_type, nulls_allowed, parent_column FROM ducklake_column
WHERE table_id = ? AND end_snapshot IS NULL ORDER BY column_order"""
_INLINED = """SELECT table_name FROM ducklake_inlined_data_tables WHERE table_id = ?
ORDER BY schema_version DESC LIMIT 1"""
_COUNTS = "SELECT record_count, next_row_id FROM ducklake_table_stats WHERE table_id = ?"
_STATISTICS = """SELECT column_id, contains_null, min_value, max_value FROM ducklake_table_column_stats
WHERE table_id = ?"""


@dataclass(frozen=True, slots=True)
class DirectCommit:
    """What one commit appends, and what DuckLake's record says of it."""

    appends: Sequence[Append]
    author: str
    message: str
    note: str


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the schema says of a table; it holds while the schema's version does."""

    id: int
    columns: tuple[LakeColumn, ...]


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest snapshot, and what the lake says of all."""

    snapshot_id: int
    schema_version: int
    next_catalog_id: int
    next_file_id: int
    format: str | None
    encrypted: str | None


class Session(Protocol):
    """One thread's connection to the database. Statements have `?` for parameters."""

    def transaction(self) -> AbstractContextManager[None]:
        """Undo all when an error leaves it, and do not commit."""

    def batch(self) -> AbstractContextManager[None]:
        """Let statements of the context travel together: their rows are read after it, and what fails is raised by its end."""

    def begin(self) -> None:
        """Begin the transaction."""

    def commit(self) -> None:
        """Commit; durable on return, or at the end of the batch."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return a cursor of its own."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> object:
        """Run one statement for each row."""

    def names(self, table: str) -> list[str]:
        """Return the names of a table's columns in their order."""

    def encode(self, columns: Sequence[LakeColumn], rows: Sequence[tuple[Cell, ...]]) -> Sequence[Sequence[Any]]:
        """Return rows as the database holds them; three cells of DuckLake's own stand before the columns'."""

    def close(self) -> None:
        """Close the connection."""


class Bookkeeping:
    """DuckLake's own tables, on one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shapes: dict[str, _Shape] = {}
        self._inserts: dict[str, str] = {}
        self._schema_version = -1

    def commit(self, commit: DirectCommit, *, before: Callable[[int], None]) -> int:
        """Write a commit; return its snapshot's number. Durable on return.

        `before` is called with this number when nothing is left but to write and commit; what it raises undoes all. Raises
        NotDirect, or an error of the database; nothing is written then, unless it was the commit that failed.
        """
        try:
            with self._session.transaction():
                newest, states = self._read(commit)
                snapshot_id = newest.snapshot_id + 1
                plans = [
                    (state, plan_append(state, append, snapshot_id))
                    for state, append in zip(states, commit.appends, strict=True)
                ]
                before(snapshot_id)
                with self._session.batch():
                    self._write(commit, newest, plans)
                    self._session.commit()
        except BaseException:
            self._shapes.clear()
            raise
        return snapshot_id

    def _read(self, commit: DirectCommit) -> tuple[_Newest, list[TableState]]:
        """Begin, and read what the commit builds on: in one batch, as long as the shapes of the tables are known."""
        session, tables = self._session, [append.table for append in commit.appends]
        known = [self._shapes[table] for table in tables if table in self._shapes]
        with session.batch():
            session.begin()
            found = session.execute(_NEWEST)
            asked = [self._ask_state(shape) for shape in known]
        newest = _Newest(*found.fetchone())
        if newest.format != FORMAT or newest.encrypted not in (None, "false"):
            raise NotDirect("another version of DuckLake's format, or encryption")
        if newest.schema_version == self._schema_version and len(known) == len(tables):
            return newest, [_state_of(shape, *cursors) for shape, cursors in zip(known, asked, strict=True)]
        if newest.schema_version != self._schema_version:
            self._shapes.clear()
            self._schema_version = newest.schema_version
        shapes = [self._shapes.get(table) or self._read_shape(table) for table in tables]
        return newest, [_state_of(shape, *self._ask_state(shape)) for shape in shapes]

    def _ask_state(self, shape: _Shape) -> tuple[Any, Any, Any]:
        return tuple(self._session.execute(sql, (shape.id,)) for sql in (_INLINED, _COUNTS, _STATISTICS))

    def _write(self, commit: DirectCommit, newest: _Newest, plans: Iterable[tuple[TableState, TablePlan]]) -> None:
        execute, snapshot_id = self._session.execute, newest.snapshot_id + 1
        execute(
            "INSERT INTO ducklake_snapshot (snapshot_id, snapshot_time, schema_version, next_catalog_id, next_file_id) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                snapshot_id, lake_time(datetime.now(UTC)), newest.schema_version,
                newest.next_catalog_id, newest.next_file_id + len(commit.appends),
            ),
        )  # fmt: skip
        tables = []
        for state, plan in plans:
            self._apply(state, plan)
            tables.append(state.id)
        changes = ",".join(f"inlined_insert:{number}" for number in sorted(tables))
        execute(
            "INSERT INTO ducklake_snapshot_changes "
            "(snapshot_id, changes_made, author, commit_message, commit_extra_info) VALUES (?, ?, ?, ?, ?)",
            (snapshot_id, changes, commit.author, commit.message, commit.note),
        )

    def _read_shape(self, table: str) -> _Shape:
        """Read and keep what the schema says of a table; raise NotDirect where its inlined rows have another shape."""
        execute = self._session.execute
        found = execute(_TABLE, (table,)).fetchall()
        if len(found) != 1:
            raise NotDirect("no such table")
        number = int(found[0][0])
        columns = build_columns(execute(_COLUMNS, (number,)).fetchall())
        inlined = _inlined(execute(_INLINED, (number,)))
        names = self._session.names(inlined)
        if names != [*_SYSTEM, *(column.name for column in columns)]:
            raise NotDirect("inlined rows of a former shape")
        listed = ", ".join(f'"{name}"' for name in names)
        self._inserts[inlined] = f'INSERT INTO "{inlined}" ({listed}) VALUES ({", ".join("?" * len(names))})'
        self._shapes[table] = _Shape(number, columns)
        return self._shapes[table]

    def _apply(self, state: TableState, plan: TablePlan) -> None:
        session = self._session
        if state.inlined not in self._inserts:
            raise NotDirect("inlined rows of a new shape")
        session.executemany(self._inserts[state.inlined], session.encode(state.columns, plan.rows))
        bounds = [(one.has_null, one.least, one.greatest, state.id, number) for number, one in plan.statistics.items()]
        if state.counts is None:
            session.execute(
                "INSERT INTO ducklake_table_stats (record_count, next_row_id, table_id, file_size_bytes) "
                "VALUES (?, ?, ?, 0)",
                (*plan.counts, state.id),
            )
            session.executemany(
                "INSERT INTO ducklake_table_column_stats (contains_null, min_value, max_value, table_id, column_id) "
                "VALUES (?, ?, ?, ?, ?)",
                bounds,
            )
            return
        session.execute(
            "UPDATE ducklake_table_stats SET record_count = ?, next_row_id = ? WHERE table_id = ?",
            (*plan.counts, state.id),
        )
        session.executemany(
            "UPDATE ducklake_table_column_stats SET contains_null = ?, min_value = ?, max_value = ? "
            "WHERE table_id = ? AND column_id = ?",
            bounds,
        )

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def _inlined(found: Any) -> str:
    """Return where new rows of a table go; raise NotDirect where none were inlined yet."""
    row = found.fetchone()
    if row is None:
        raise NotDirect("no inlined rows yet")
    return str(row[0])


def _state_of(shape: _Shape, inlined: Any, counts: Any, statistics: Any) -> TableState:
    bounds = {
        number: Bounds(None if has_null is None else bool(has_null), least, greatest)
        for number, has_null, least, greatest in statistics
    }
    return TableState(shape.id, shape.columns, _inlined(inlined), counts.fetchone(), bounds)
