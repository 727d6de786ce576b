"""Healing of nested values that DuckDB has inlined as text and reads wrong, or not at all.

The text itself is unambiguous: strings with special characters stand in quotes, where a backslash escapes. Only DuckDB's reader
misjudges some of it. What it misreads is written in the bookkeeping once more, in a form that it reads right: strings with a
backslash in quotes, and elements of lists in quotes as a whole.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import duckdb

from catalog.lake.nested_values import CHILDREN, NESTED

_META = "__ducklake_metadata_lake"
_Item = TypeVar("_Item")
_SPECIAL = frozenset("\\'\"(){}[],:= \t\n\r\v\f")
Value = str | None | list["Value"] | dict[str, "Value"]


def heal_inlined(connection: duckdb.DuckDBPyConnection) -> int:
    """Write the texts anew that DuckDB misreads, under the write lock; return how many. A second run finds none to change."""
    healed = 0
    for table, columns in NESTED.items():
        for inlined in _inlined_tables(connection, table):
            known = {
                str(row[0]) for row in connection.execute(f"DESCRIBE {_META}.{inlined}").fetchall()
            }  # one that was made before the column came has none
            for column in columns.keys() & known:
                healed += _heal_column(connection, inlined, column, columns[column])
    return healed


def _inlined_tables(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    rows = connection.execute(
        f"SELECT inlined.table_name FROM {_META}.ducklake_inlined_data_tables inlined "
        f"JOIN {_META}.ducklake_table tables USING (table_id) WHERE tables.table_name = ?",
        [table],
    )
    return [str(row[0]) for row in rows.fetchall()]


def _heal_column(connection: duckdb.DuckDBPyConnection, inlined: str, column: str, kind: str) -> int:
    """Write the texts of one column anew that DuckDB misreads; return how many. It writes what it reads right just as it was."""
    misread = connection.execute(
        f"SELECT DISTINCT {column} FROM {_META}.{inlined} WHERE {column} IS NOT NULL "
        f"AND TRY_CAST({column} AS {kind})::VARCHAR IS DISTINCT FROM {column}"
    ).fetchall()
    healed = 0
    for (text,) in misread:
        better = robust_text(str(text), kind)
        if better != text:
            connection.execute(f"UPDATE {_META}.{inlined} SET {column} = ? WHERE {column} = ?", [better, text])
            healed += 1
    return healed


def robust_text(text: str, kind: str) -> str:
    """The same value as a text that DuckDB reads right."""
    value = parse_nested(text)
    if kind == CHILDREN and isinstance(value, list):
        return f"[{', '.join(map(_element, value))}]"
    return _written(value)


def _element(value: Value) -> str:
    """An element of a list of structs; one that was healed before is a text already."""
    return "NULL" if value is None else _quoted(value if isinstance(value, str) else _struct(value))


def _struct(value: Value) -> str:
    assert isinstance(value, dict)
    return "{" + ", ".join(f"{_quoted(key)}: {_written(inner)}" for key, inner in value.items()) + "}"


def _written(value: Value) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            is_plain = value and value.upper() != "NULL" and not _SPECIAL & set(value)
            return value if is_plain else _quoted(value)
        case list():
            return f"[{', '.join(map(_written, value))}]"
        case dict():
            return "{" + ", ".join(f"{_written(key)}={_written(inner)}" for key, inner in value.items()) + "}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def parse_nested(text: str) -> Value:
    """Read a nested value as DuckDB writes it; raise ValueError for what it never writes."""
    reader = _Reader(text)
    value = reader.value(frozenset())
    if reader.place != len(text):
        raise ValueError(f"not a nested value: {text[:100]!r}")
    return value


class _Reader:
    """Walks over one text."""

    def __init__(self, text: str) -> None:
        self._text, self.place = text, 0

    def value(self, ends: frozenset[str]) -> Value:
        if self._takes("["):
            return list(self._items("]", lambda: self.value(frozenset(",]"))))
        if self._takes("{"):
            return dict(self._items("}", self._pair))
        return self._string(ends)

    def _pair(self) -> tuple[str, Value]:
        key = self._string(frozenset(":="))
        if key is None or not (self._takes(":") or self._takes("=")):
            raise ValueError(f"a key without a value at {self.place}")
        self._takes(" ")
        return key, self.value(frozenset(",}"))

    def _items(self, end: str, read: Callable[[], _Item]) -> Iterable[_Item]:
        if self._takes(end):
            return
        while True:
            yield read()
            if self._takes(end):
                return
            if not self._takes(","):
                raise ValueError(f"expected , or {end} at {self.place}")
            self._takes(" ")

    def _string(self, ends: frozenset[str]) -> str | None:
        if self._takes("'"):
            return "".join(self._unescaped())
        begun = self.place
        while self.place < len(self._text) and self._text[self.place] not in ends:
            self.place += 1
        plain = self._text[begun : self.place]
        return None if plain == "NULL" else plain

    def _unescaped(self) -> Iterator[str]:
        while not self._takes("'"):
            self._takes("\\")
            if self.place >= len(self._text):
                raise ValueError("a quote is not closed")
            yield self._text[self.place]
            self.place += 1

    def _takes(self, mark: str) -> bool:
        found = self._text.startswith(mark, self.place)
        self.place += found
        return found
