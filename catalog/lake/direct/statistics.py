"""The statistics that DuckLake keeps of each column: whether it has NULLs, its least and its greatest value. Pure.

Source: DuckLake specification 1.0, table `ducklake_table_column_stats`. They are text; DuckDB 1.5.5 merges those of new rows
into them as `merge` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.lake.direct.columns import LakeColumn, NotDirect, Value

_Key = str | int | float


@dataclass(frozen=True, slots=True)
class Bounds:
    """A column's statistics as they are kept; None: not known."""

    has_null: bool | None
    least: str | None
    greatest: str | None


@dataclass(frozen=True, slots=True)
class NewValues:
    """What the new values of one column come to: whether some are NULL, and the least and the greatest of the others."""

    kind: str
    has_null: bool
    least: _Key | None
    greatest: _Key | None

    def first(self) -> Bounds:
        """Return the statistics of a column that had none."""
        return Bounds(self.has_null, self._text(self.least), self._text(self.greatest))

    def merge(self, kept: Bounds) -> Bounds:
        """Return the statistics of a column with its new values. An unknown bound of a column with values stays unknown."""
        has_null = None if kept.has_null is None else kept.has_null or self.has_null
        if self.least is None or self.greatest is None:
            return Bounds(has_null, kept.least, kept.greatest)
        if kept.least is None and kept.greatest is None:
            return Bounds(has_null, self._text(self.least), self._text(self.greatest))
        least, greatest = kept.least, kept.greatest
        if least is not None and self.least < self._parse(least):  # type: ignore[operator]
            least = self._text(self.least)
        if greatest is not None and self.greatest > self._parse(greatest):  # type: ignore[operator]
            greatest = self._text(self.greatest)
        return Bounds(has_null, least, greatest)

    def _text(self, key: _Key | None) -> str | None:
        if key is None:
            return None
        return f"{key}+00" if self.kind == "timestamptz" else str(key)

    def _parse(self, text: str) -> _Key:
        if self.kind == "int64":
            return int(text)
        if self.kind == "float64":
            return float(text)
        return _key_of(self.kind, text)


def summarise(column: LakeColumn, values: Sequence[Value]) -> NewValues:
    """Return what checked values of a column without columns within it come to."""
    keys = [_key_of(column.type, value) for value in values if value is not None]
    if not keys:
        return NewValues(column.type, bool(values), None, None)
    return NewValues(column.type, len(keys) < len(values), min(keys), max(keys))


def _key_of(kind: str, value: object) -> _Key:
    """Return what values of a type are ordered by. Texts are in the order of their UTF-8 bytes, as code points are."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value
        case str() if kind == "timestamptz":
            if not value.endswith("+00") or value[4:5] != "-":
                raise NotDirect("a time of another form in the statistics")
            return value[:-3]
        case str():
            return value
        case _:
            raise NotDirect(f"statistics of type {kind}")
