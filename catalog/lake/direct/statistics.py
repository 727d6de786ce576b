"""The statistics that DuckLake keeps of each column: whether it has NULLs, its least and its greatest value. Pure.

Source: DuckLake specification 1.0, table `ducklake_table_column_stats`. They are text; DuckDB 1.5.5 merges those of new rows
into them as `merge` does.
"""

from dataclasses import dataclass

from catalog.lake.direct.columns import LakeColumn, NotDirect, Value

_Key = str | int | float


@dataclass(frozen=True, slots=True)
class Bounds:
    """A column's statistics as they are kept; None: not known."""

    has_null: bool | None
    least: str | None
    greatest: str | None


class Collector:
    """The statistics of the new values of one column."""

    __slots__ = ("_column", "_greatest", "_has_null", "_least")

    def __init__(self, column: LakeColumn) -> None:
        self._column = column
        self._has_null = False
        self._least: _Key | None = None
        self._greatest: _Key | None = None

    def add(self, value: Value) -> None:
        """Count a value that was checked."""
        if value is None:
            self._has_null = True
            return
        key = _key_of(self._column.type, value)
        if self._least is None or key < self._least:  # type: ignore[operator]  # of one column: all of one type
            self._least = key
        if self._greatest is None or key > self._greatest:  # type: ignore[operator]
            self._greatest = key

    def first(self) -> Bounds:
        """Return the statistics of a column that had none."""
        return Bounds(self._has_null, self._text(self._least), self._text(self._greatest))

    def merge(self, kept: Bounds) -> Bounds:
        """Return the statistics of a column with its new values. An unknown bound of a column with values stays unknown."""
        has_null = None if kept.has_null is None else kept.has_null or self._has_null
        if self._least is None or self._greatest is None:
            return Bounds(has_null, kept.least, kept.greatest)
        if kept.least is None and kept.greatest is None:
            return Bounds(has_null, self._text(self._least), self._text(self._greatest))
        least, greatest = kept.least, kept.greatest
        if least is not None and self._least < self._parse(least):  # type: ignore[operator]
            least = self._text(self._least)
        if greatest is not None and self._greatest > self._parse(greatest):  # type: ignore[operator]
            greatest = self._text(self._greatest)
        return Bounds(has_null, least, greatest)

    def _text(self, key: _Key | None) -> str | None:
        if key is None:
            return None
        return f"{key}+00" if self._column.type == "timestamptz" else str(key)

    def _parse(self, text: str) -> _Key:
        if self._column.type == "int64":
            return int(text)
        if self._column.type == "float64":
            return float(text)
        return _key_of(self._column.type, text)


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
