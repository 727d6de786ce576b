"""The columns of a DuckLake table, and the cells of rows that are inlined in SQLite. Pure.

Source: DuckLake specification 1.0, tables `ducklake_column` and `ducklake_inlined_data_tables`; types as DuckDB 1.5.5 writes
them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import copysign, isfinite

Value = str | int | float | bool | list[str] | None
"""A value as the writer gets it: times and dates are text by `lake_time` and ISO 8601."""

_TIME = re.compile(r"[1-9]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{0,5}[1-9])?\+00")
_DATE = re.compile(r"[1-9]\d{3}-\d\d-\d\d")
_SPECIAL = re.compile(r"""[\\'"(),:=\[\]{}]""")
_BLANKS = " \t\n\v\f\r"
_LARGEST = 2**63


class NotDirect(Exception):
    """A direct commit cannot write this: DuckDB's writer has to. The text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class LakeColumn:
    """A column with those within it: fields of a struct, the element of a list, key and value of a map."""

    id: int
    name: str
    type: str
    nullable: bool
    children: "tuple[LakeColumn, ...]" = ()

    def leaves(self) -> "Iterator[LakeColumn]":
        """Return the columns that have statistics: itself, or the innermost ones."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


def build_columns(rows: Iterable[tuple[int, str, str, bool, int | None]]) -> tuple[LakeColumn, ...]:
    """Return a table's columns from rows of (id, name, type, nullable, parent's id), in the order of the table."""
    found = list(rows)

    def within(parent: int | None) -> tuple[LakeColumn, ...]:
        return tuple(
            LakeColumn(number, name, kind.lower(), bool(nullable), within(number))
            for number, name, kind, nullable, above in found
            if above == parent
        )

    return within(None)


def lake_time(utc: datetime) -> str:
    """Return a time in UTC as DuckDB writes it."""
    fraction = f".{utc.microsecond:06d}".rstrip("0") if utc.microsecond else ""
    return f"{utc.year:04d}-{utc:%m-%d %H:%M:%S}{fraction}+00"


def plain_value(value: object) -> Value:
    """Return a value as the worker gets it; raise NotDirect for a type it does not know."""
    match value:
        case datetime():
            if value.tzinfo is None:
                raise NotDirect("a time without a zone")
            try:
                utc = value.astimezone(UTC)
            except OverflowError:
                raise NotDirect("a time beyond the year 9999") from None
            return lake_time(utc)
        case date():
            return value.isoformat()
        case str():
            return str(value)
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case list() if all(isinstance(one, str) for one in value):
            return [str(one) for one in value]
        case _:
            raise NotDirect(f"a value of type {type(value).__name__}")


def check_values(column: LakeColumn, values: Sequence[Value]) -> None:
    """Raise NotDirect for values that this column cannot take in a direct commit."""
    present = [value for value in values if value is not None]
    if len(present) < len(values) and not column.nullable:
        raise NotDirect(f"column {column.name} without a value")
    if column.type == "list" and column.children[0].type == "varchar":
        is_fit = all(isinstance(value, list) and all(map(_is_text, value)) for value in present)
    else:
        is_fit = all(_fits(column.type, value) for value in present)
    if not is_fit:
        raise NotDirect(f"column {column.name} of type {column.type}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _fits(kind: str, value: Value) -> bool:
    match value:
        case bool():
            return kind == "boolean"
        case int():
            return kind == "int64" and -_LARGEST <= value < _LARGEST
        case float():
            return kind == "float64" and isfinite(value) and not (value == 0 and copysign(1, value) < 0)
        case str():
            return (
                (kind == "varchar" and "\0" not in value)
                or (kind == "timestamptz" and _TIME.fullmatch(value) is not None)
                or (kind == "date" and _DATE.fullmatch(value) is not None)
            )
        case _:
            return False


def cell(value: Value) -> str | int | None:
    """Return what SQLite holds for a checked value."""
    match value:
        case bool():
            return int(value)
        case float():
            return repr(value)
        case list():
            return f"[{', '.join(map(_element, value))}]"
        case _:
            return value


def _element(text: str) -> str:
    """Return a text within a list: quoted wherever DuckDB might read it as something else."""
    plain = text and text.upper() != "NULL" and text[0] not in _BLANKS and text[-1] not in _BLANKS
    if plain and not _SPECIAL.search(text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def arrange(columns: Sequence[LakeColumn], names: Sequence[str] | None, width: int) -> list[int | None]:
    """Return for each column of a table where its value is in a row: by name, or by place where `names` is None.

    `width` is how many values a row has: the columns behind them, which a newer release has added, have none. Raises NotDirect
    when the table lacks a column.
    """
    if names is None:
        return [place if place < width else None for place in range(len(columns))]
    places = {name: place for place, name in enumerate(names)}
    if places.keys() - {column.name for column in columns}:
        raise NotDirect("a column that the table does not have")
    return [places.get(column.name) for column in columns]
