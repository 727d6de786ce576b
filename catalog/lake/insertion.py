"""Rows that DuckDB inserts: few by the order of columns, few by their names as JSON, many as an Arrow table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

_FEW = 1000
"""Rows that are handed over as JSON. Arrow takes 50 MB of memory to load, which a process with few rows saves."""

Row = tuple[object, ...]
Record = Mapping[str, object]
"""A row by column; a column that is not named is NULL."""


@dataclass(frozen=True, slots=True)
class Rows:
    """New rows of a table; `columns` names their values, None: all, in the order of the table."""

    table: str
    columns: tuple[str, ...] | None
    values: Sequence[Row]


def rows_of(table: str, records: Sequence[Record]) -> Rows:
    """Return records as rows with the columns that at least one of them names."""
    names = tuple(dict.fromkeys(name for record in records for name in record))
    return Rows(table, names, [tuple(map(record.get, names)) for record in records])


def insert_rows(cursor: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Insert rows whose texts and numbers are fit for the catalogue; a named column has values of one type."""
    if rows.columns is None:
        for start in range(0, len(rows.values), _FEW):
            some = rows.values[start : start + _FEW]
            places = ", ".join([f"({', '.join('?' * len(some[0]))})"] * len(some))
            into = f"{rows.table} ({_first_columns(cursor, rows.table, len(some[0]))})"
            cursor.execute(f"INSERT INTO {into} VALUES {places}", [value for row in some for value in row])
    elif len(rows.values) > _FEW:
        _insert_arrow(cursor, rows, rows.columns)
    else:
        _insert_json(cursor, rows, rows.columns)


def _first_columns(cursor: duckdb.DuckDBPyConnection, table: str, width: int) -> str:
    """Return the names of a table's first columns; a newer release may have added others behind them."""
    return ", ".join(str(row[0]) for row in cursor.execute(f"DESCRIBE {table}").fetchall()[:width])


def _insert_json(cursor: duckdb.DuckDBPyConnection, rows: Rows, names: Sequence[str]) -> None:
    kinds = {name: _kind_of(row[place] for row in rows.values) for place, name in enumerate(names)}
    shape = json.dumps([kinds]).replace("'", "''")
    records = [dict(zip(names, map(_json_value, row), strict=True)) for row in rows.values]
    cursor.execute(
        f"INSERT INTO {rows.table} BY NAME SELECT unnest(from_json(?, '{shape}'), max_depth := 2)",
        [json.dumps(records, ensure_ascii=False, separators=(",", ":"))],
    )


def _insert_arrow(cursor: duckdb.DuckDBPyConnection, rows: Rows, names: Sequence[str]) -> None:
    import pyarrow as pa  # a registry that takes small pushes never loads it

    kinds = {
        "BOOLEAN": pa.bool_(), "BIGINT": pa.int64(), "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"), "DATE": pa.date32(),
        "VARCHAR[]": pa.list_(pa.string()), "VARCHAR": pa.string(),
    }  # fmt: skip
    columns = {}
    for place, name in enumerate(names):
        column = [row[place] for row in rows.values]
        columns[name] = pa.array(column, kinds[_kind_of(column)])
    cursor.register("incoming_rows", pa.table(columns))
    try:
        cursor.execute(f"INSERT INTO {rows.table} BY NAME SELECT * FROM incoming_rows")
    finally:
        cursor.unregister("incoming_rows")


def _kind_of(values: Iterable[object]) -> str:
    """Return DuckDB's type of a column's values."""
    match next((value for value in values if value is not None), None):
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT"
        case datetime():
            return "TIMESTAMPTZ"
        case date():
            return "DATE"
        case list():
            return "VARCHAR[]"
        case _:
            return "VARCHAR"


def _json_value(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value
