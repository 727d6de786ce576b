"""What one write of the catalogue does: rows are gathered, and written together when it ends.

Appends may be written by a worker (`catalog.lake.direct`). Anything else begins a transaction of DuckDB, which then takes
what was gathered before, in the same order.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

import duckdb

from catalog.lake.direct.append import Append
from catalog.lake.direct.columns import Value, plain_value
from catalog.lake.insertion import Record, Rows, insert_rows, rows_of
from catalog.lake.metadata.engine import Row
from oci.errors import InvalidInput
from oci.unicode import fit_text, is_fit


def check_fit(value: object) -> None:
    """Raise InvalidInput for a text that the catalogue cannot hold as it is."""
    if isinstance(value, str) and not is_fit(value):
        raise InvalidInput(f"{value[:100]!r} holds a NUL or half a surrogate pair, which is no text")


class Writer:
    """What one write may do; `before` and `after` are the commit counter's values around it."""

    def __init__(self, begin: Callable[[], duckdb.DuckDBPyConnection], before: int) -> None:
        """`begin` begins DuckDB's transaction, and returns the connection it runs on."""
        self._begin = begin
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._gathered: list[Rows] = []
        self.author = self.message = self.note = ""
        self.before = self.after = before
        self.wrote = False

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        """Add a few rows, in the order of the table's columns; raise InvalidInput for text that the catalogue cannot hold."""
        for value in (value for row in rows for value in row):
            for text in value if isinstance(value, list) else (value,):
                check_fit(text)
        self._gather(Rows(table, None, rows))

    def append(self, table: str, records: Sequence[Record]) -> None:
        """Add rows by name of column; columns that they lack are NULL. Texts and numbers have been made fit."""
        self._gather(rows_of(table, records))

    def _gather(self, rows: Rows) -> None:
        if not rows.values:
            return
        self.wrote = True
        if self._cursor is None:
            self._gathered.append(rows)
        else:
            insert_rows(self._cursor, rows)

    def delete(self, table: str, column: str, value: object) -> None:
        """Remove the rows whose column has the value."""
        self.execute(f"DELETE FROM {table} WHERE {column} = ?", [value])

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        """Run one statement that writes."""
        self.begin().execute(sql, parameters)

    def clear(self, table: str) -> int:
        """Remove all rows; return how many they were."""
        row = self.begin().execute(f"DELETE FROM {table}").fetchone()
        return int(row[0]) if row else 0

    def begin(self) -> duckdb.DuckDBPyConnection:
        """Begin DuckDB's transaction unless it has begun, with what was gathered; return the connection it runs on."""
        self.wrote = True
        if self._cursor is None:
            cursor = self._cursor = self._begin()
            for rows in self._gathered:
                insert_rows(cursor, rows)
        return self._cursor

    @property
    def only_appends(self) -> bool:
        """Return whether rows were gathered and nothing else was done."""
        return self._cursor is None

    def sizes(self) -> list[tuple[str, int]]:
        """Return the tables of `appends`, with the number of rows; a table whose rows differ in columns is there twice."""
        found: Counter[tuple[str, tuple[str, ...] | None]] = Counter()
        for rows in self._gathered:
            found[rows.table, rows.columns] += len(rows.values)
        return [(table, number) for (table, _), number in found.items()]

    def appends(self) -> list[Append]:
        """Return what was gathered as a worker takes it; raise NotDirect for a value that it does not know."""
        found: dict[tuple[str, tuple[str, ...] | None], list[list[Value]]] = {}
        for rows in self._gathered:
            found.setdefault((rows.table, rows.columns), []).extend(
                [list(map(plain_value, row)) for row in rows.values]
            )
        return [Append(table, columns, values) for (table, columns), values in found.items()]

    def commit(self) -> None:
        """Write all by DuckDB."""
        cursor = self.begin()
        if self.note:
            cursor.execute(
                "CALL lake.set_commit_message(?, ?, extra_info => ?)", [self.author, self.message, self.note]
            )
        cursor.execute("COMMIT")

    def mark(self) -> None:
        """Make the note one that no other commit has, so that this one is found by it."""
        self.note = json.dumps({**json.loads(self.note or "{}"), "commit": secrets.token_hex(8)})

    def roll_back(self) -> None:
        """Undo what DuckDB's transaction has done."""
        if self._cursor is not None:
            roll_back(self._cursor)

    def describe(
        self,
        actor: str,
        message: str,
        *,
        versions: Mapping[str, range] | None = None,
        distributions: Mapping[str, str] | None = None,
        acts: int = 0,
        squashed: Mapping[str, Collection[int]] | None = None,
        ended: Mapping[str, int] | None = None,
        remotes: bool = False,
        totals: Mapping[str, tuple[int, int]] | None = None,
        quotas: bool = False,
        opened: Mapping[str, tuple[str, bool, int]] | None = None,
        gates: bool = False,
    ) -> None:
        """Say in DuckLake's own record who commits what; other processes read from it what they must look at again.

        `versions`: repository → the numbers made; `distributions`: path → `set` or `deleted`; `acts`: rows of audit events;
        `squashed`: versions that are no more; `ended`: repositories that are no more, with the last number they had;
        `totals`: tags and bytes of the latest of `versions`; `remotes`, `quotas`: some were changed; `gates`: rules about pulls
        were; `opened`: all about the distributions of new repositories. A commit of versions without it may have made any.
        """
        made = versions or {}
        told: dict[str, object] = {
            "versions": {name: numbers[-1] for name, numbers in made.items()},
            "first": {name: numbers[0] for name, numbers in made.items() if len(numbers) > 1},
            "distributions": dict(distributions or {}),
            "acts": acts,
            "remotes": remotes,
        }
        if squashed:
            told["squashed"] = {name: sorted(numbers) for name, numbers in squashed.items()}
        if ended:
            told["ended"] = dict(ended)
        if totals:
            told["totals"] = dict(totals)
        if quotas:
            told["quotas"] = True
        if gates:
            told["gates"] = True
        if opened is not None:
            told["opened"] = dict(opened)
        self.author, self.message, self.note = fit_text(actor), fit_text(message), json.dumps(told)


def roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """Undo a transaction."""
    with suppress(
        duckdb.TransactionException, duckdb.FatalException
    ):  # there is none when BEGIN or COMMIT itself failed
        cursor.execute("ROLLBACK")
