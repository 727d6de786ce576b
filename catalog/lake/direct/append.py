"""What one append changes in DuckLake's bookkeeping. Pure: from the state of a table and its new rows to what is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.lake.direct.columns import LakeColumn, Value, arrange, cell, check_value
from catalog.lake.direct.statistics import Bounds, Collector

Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Append:
    """Rows for one table; `columns` names their values, None: in the order of the table."""

    table: str
    columns: tuple[str, ...] | None
    rows: Sequence[Sequence[Value]]


@dataclass(frozen=True, slots=True)
class TableState:
    """A table as the bookkeeping has it: `inlined` is where its rows go; `counts` are rows and the next row's id, None before the
    first append."""

    id: int
    columns: tuple[LakeColumn, ...]
    inlined: str
    counts: tuple[int, int] | None
    statistics: Mapping[int, Bounds]


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What is written for one table: rows with their bookkeeping before them, counts and statistics after them."""

    rows: list[list[Cell]]
    counts: tuple[int, int]
    statistics: Mapping[int, Bounds]


def plan_append(state: TableState, append: Append, snapshot_id: int) -> TablePlan:
    """Return what an append writes as of a snapshot; raise NotDirect for what DuckDB's writer has to write.

    A column that was added after a table's first append has no statistics, and gets none.
    """
    count, next_row = state.counts or (0, 0)
    places = arrange(state.columns, append.columns)
    collectors = {leaf.id: Collector(leaf) for column in state.columns for leaf in column.leaves()}
    rows: list[list[Cell]] = []
    for number, values in enumerate(append.rows):
        row: list[Cell] = [next_row + number, snapshot_id, None]
        for column, place in zip(state.columns, places, strict=True):
            value = None if place is None else values[place]
            check_value(column, value)
            for leaf, part in _parts(column, value):
                collectors[leaf].add(part)
            row.append(cell(value))
        rows.append(row)
    counts = count + len(rows), next_row + len(rows)
    if state.counts is None:
        return TablePlan(rows, counts, {number: one.first() for number, one in collectors.items()})
    merged = {
        number: collectors[number].merge(kept) for number, kept in state.statistics.items() if number in collectors
    }
    return TablePlan(rows, counts, {number: one for number, one in merged.items() if one != state.statistics[number]})


def _parts(column: LakeColumn, value: Value) -> Iterator[tuple[int, Value]]:
    """Return what a value counts for in the statistics of which columns: a list by its elements, a struct by its fields."""
    if not column.children:
        yield column.id, value
    elif isinstance(value, list):
        for one in value:
            yield column.children[0].id, one
    elif column.type == "struct":
        for child in column.children:
            yield from _parts(child, None)
