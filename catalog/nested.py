"""Nested values of the catalogue: kept as JSON text in plain columns, read as maps and lists.

DuckDB 1.5 inlines nested values into the bookkeeping as text that it cannot always read back (a `}` in a string of a list of
structs, a map's key that ends in a backslash); one such row keeps every question over the column, and the upkeep, from working
(duckdb/duckdb#23364). Earlier releases wrote nested columns, whose rows stay and are read where there is no JSON text
(catalog/nested_texts.py heals those that DuckDB reads wrong).
"""

import json
from collections.abc import Mapping, Sequence

TEXTS = "MAP(VARCHAR, VARCHAR)"
CHILDREN = "STRUCT(role VARCHAR, digest VARCHAR, media_type VARCHAR, size BIGINT, platform VARCHAR)[]"
_SHAPES = {
    TEXTS: '"MAP(VARCHAR, VARCHAR)"',
    CHILDREN: '[{"role": "VARCHAR", "digest": "VARCHAR", "media_type": "VARCHAR", "size": "BIGINT", "platform": "VARCHAR"}]',
}

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
    """The text of a nested value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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
    """SQL of a SELECT list's REPLACE by which rows of earlier releases are written anew as text."""
    columns = NESTED[table]
    texts = (f"coalesce({json_column(one)}, to_json({one})::VARCHAR) AS {json_column(one)}" for one in columns)
    return ", ".join([*texts, *(f"NULL AS {one}" for one in columns)])
