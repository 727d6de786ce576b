"""What one append changes in DuckLake's bookkeeping. Pure: from the state of a table and its new rows to what is written."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.lake.direct.columns import LakeColumn, Value, arrange, cell, check_values
from catalog.lake.direct.statistics import Bounds, NewValues, summarise

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

    rows: Sequence[tuple[Cell, ...]]
    counts: tuple[int, int]
    statistics: Mapping[int, Bounds]


def plan_append(state: TableState, append: Append, snapshot_id: int) -> TablePlan:
    """Return what an append writes as of a snapshot; raise NotDirect for what DuckDB's writer has to write.

    A column that was added after a table's first append has no statistics, and gets none.
    """
    count, next_row = state.counts or (0, 0)
    number = len(append.rows)
    columns: list[Sequence[Cell]] = [range(next_row, next_row + number), [snapshot_id] * number, [None] * number]
    summaries: dict[int, NewValues] = {}
    for column, place in zip(state.columns, arrange(state.columns, append.columns, len(append.rows[0])), strict=True):
        values = [None] * number if place is None else [row[place] for row in append.rows]
        check_values(column, values)
        for leaf, parts in _parts(column, values):
            summaries[leaf.id] = summarise(leaf, parts)
        columns.append(values if column.type == "varchar" else list(map(cell, values)))  # type: ignore[arg-type]  # checked
    rows = list(zip(*columns, strict=True))
    counts = count + number, next_row + number
    if state.counts is None:
        return TablePlan(rows, counts, {leaf: one.first() for leaf, one in summaries.items()})
    merged = {leaf: summaries[leaf].merge(kept) for leaf, kept in state.statistics.items() if leaf in summaries}
    return TablePlan(rows, counts, {leaf: one for leaf, one in merged.items() if one != state.statistics[leaf]})


def _parts(column: LakeColumn, values: Sequence[Value]) -> Iterator[tuple[LakeColumn, Sequence[Value]]]:
    """Return what values count for in the statistics of which columns: a list by its elements, a struct by its fields."""
    if not column.children:
        yield column, values
        return
    if column.type == "list" and not column.children[0].children:
        yield column.children[0], [one for value in values if isinstance(value, list) for one in value]
        return
    for child in column.children:
        yield from _parts(child, values if column.type == "struct" else ())
