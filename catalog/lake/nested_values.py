"""Nested values of the catalogue: kept as JSON text in plain columns, read as maps and lists.

DuckDB 1.5 inlines nested values into the bookkeeping as text that it cannot always read back (a `}` in a string of a list of
structs, a map's key that ends in a backslash); one such row keeps every question over the column, and maintenance, from working
(duckdb/duckdb#23364). Earlier releases wrote nested columns, whose rows stay and are read where there is no JSON text
(catalog/lake/nested_repair.py heals those that DuckDB reads wrong).
"""

import json
from collections.abc import Mapping, Sequence

from oci.unicode import fit_text

TEXTS = "MAP(VARCHAR, VARCHAR)"
CHILDREN = "STRUCT(role VARCHAR, digest VARCHAR, media_type VARCHAR, size BIGINT, platform VARCHAR)[]"
_SHAPES = {
    TEXTS: '"MAP(VARCHAR, VARCHAR)"',
    CHILDREN: '[{"role": "VARCHAR", "digest": "VARCHAR", "media_type": "VARCHAR", "size": "BIGINT", "platform": "VARCHAR"}]',
}

MAX_NUMBER = 2**63 - 1
"""The largest number that a column holds, and that what is added up comes to."""

NESTED: Mapping[str, Mapping[str, str]] = {
    "records": {"labels": TEXTS, "annotations": TEXTS, "children": CHILDREN},
    "distributions": {"labels": TEXTS},
    "remotes": {"headers": TEXTS},
}
"""The nested values of each table, with DuckDB's names of their types. Column `labels_json` is written for `labels`."""


def json_column(column: str) -> str:
    """The column that holds a nested value as JSON text."""
    return f"{column}_json"


def to_text(value: Mapping[str, str] | Sequence[Mapping[str, object]]) -> str:
    """The text of a nested value, its texts and numbers made fit for the catalogue."""
    return json.dumps(_fit(value), ensure_ascii=False, separators=(",", ":"))


def _fit(value: object) -> object:
    match value:
        case str():
            return fit_text(value)
        case int():
            return fit_number(value)
        case Mapping():
            return {fit_text(key): _fit(inner) for key, inner in value.items()}
        case Sequence():
            return [_fit(inner) for inner in value]
        case _:
            return value


def fit_number(value: int) -> int:
    """The number, or the nearest that a column of the catalogue takes."""
    return max(-MAX_NUMBER - 1, min(value, MAX_NUMBER))


def as_nested(table: str, column: str) -> str:
    """SQL of a nested value, of whichever release wrote it."""
    shape = _SHAPES[NESTED[table][column]]
    return f"coalesce(from_json({json_column(column)}, '{shape}'), {column})"


def with_nested(table: str, source: str) -> str:
    """SQL of a table's rows (`source`, in brackets or a name) with their nested values, and without their texts."""
    columns = NESTED[table]
    replaced = ", ".join(f"{as_nested(table, column)} AS {column}" for column in columns)
    return f"(SELECT * EXCLUDE ({', '.join(map(json_column, columns))}) REPLACE ({replaced}) FROM {source})"


def without_nested(table: str) -> str:
    """SQL of a SELECT list's REPLACE by which rows of older releases are written anew as text."""
    columns = NESTED[table]
    texts = (f"coalesce({json_column(one)}, to_json({one})::VARCHAR) AS {json_column(one)}" for one in columns)
    return ", ".join([*texts, *(f"NULL AS {one}" for one in columns)])
