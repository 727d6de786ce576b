from datetime import UTC, datetime

import pytest

from catalog.lake.direct.append import Append, TableState, plan_append
from catalog.lake.direct.columns import LakeColumn, NotDirect, Value, build_columns, cell, check_values, lake_time
from catalog.lake.direct.statistics import Bounds

COLUMNS = build_columns(
    [
        (1, "name", "varchar", False, None), (2, "size", "int64", True, None), (3, "made", "timestamptz", True, None),
        (4, "tags", "list", True, None), (5, "element", "varchar", True, 4), (6, "labels", "map", True, None),
        (7, "key", "varchar", False, 6), (8, "value", "varchar", True, 6), (9, "days", "float64", True, None),
    ]
)  # fmt: skip
MADE = lake_time(datetime(2026, 1, 31, 12, microsecond=500000, tzinfo=UTC))


def state(counts: tuple[int, int] | None = None, **statistics: Bounds) -> TableState:
    numbers = {leaf.name: leaf.id for column in COLUMNS for leaf in column.leaves()}
    return TableState(7, COLUMNS, "inlined", counts, {numbers[name]: one for name, one in statistics.items()})


def test_rows_follow_those_before_and_get_the_snapshot() -> None:
    names = ("size", "name", "tags")
    plan = plan_append(state((10, 12)), Append("t", names, [[1, "a", ["x y", "b}"]], [None, "b", []]]), 99)
    assert plan.rows == [
        (12, 99, None, "a", 1, None, "[x y, 'b}']", None, None),
        (13, 99, None, "b", None, None, "[]", None, None),
    ]
    assert plan.counts == (12, 14)
    assert plan.statistics == {}  # a table whose columns have none gets none


def test_the_first_append_writes_statistics_of_all_innermost_columns() -> None:
    plan = plan_append(state(), Append("t", None, [["b", 5, MADE, ["z", "a"], None, 2.5]]), 1)
    unknown = Bounds(False, None, None)
    assert plan.statistics == {
        1: Bounds(False, "b", "b"), 2: Bounds(False, "5", "5"), 3: Bounds(False, MADE, MADE), 5: Bounds(False, "a", "z"),
        7: unknown, 8: unknown, 9: Bounds(False, "2.5", "2.5"),
    }  # fmt: skip
    assert MADE == "2026-01-31 12:00:00.5+00"


@pytest.mark.parametrize(
    ("name", "kept", "value", "merged"),
    [
        ("size", Bounds(False, "9", "10"), 100, Bounds(False, "9", "100")),
        ("size", Bounds(False, "9", "10"), -1, Bounds(False, "-1", "10")),
        ("size", Bounds(False, "9", "10"), None, Bounds(True, "9", "10")),
        ("size", Bounds(True, None, None), 3, Bounds(True, "3", "3")),
        ("size", Bounds(None, None, "10"), 100, Bounds(None, None, "100")),
        ("name", Bounds(False, "b", "c"), "é", Bounds(False, "b", "é")),
        ("name", Bounds(False, "b", "\U0001f600"), "\uffff", Bounds(False, "b", "\U0001f600")),
        ("made", Bounds(False, "2026-01-31 12:00:00.25+00", "2026-01-31 12:00:00.25+00"), MADE,
         Bounds(False, "2026-01-31 12:00:00.25+00", MADE)),
        ("days", Bounds(False, "1e+22", "1e+22"), 3.0, Bounds(False, "3.0", "1e+22")),
        ("element", Bounds(False, "b", "c"), ["a", "bb"], Bounds(False, "a", "c")),
    ],
)  # fmt: skip
def test_statistics_merge_as_duckdb_merges_them(name: str, kept: Bounds, value: Value, merged: Bounds) -> None:
    """Numbers by size, texts by bytes; a bound that is not known stays so."""
    column = "tags" if name == "element" else name
    row: dict[str, Value] = {"name": "c", column: value}
    before = state((1, 1), **{name: kept})
    (number,) = before.statistics
    plan = plan_append(before, Append("t", tuple(row), [list(row.values())]), 2)
    assert plan.statistics.get(number, kept) == merged
    assert (number in plan.statistics) == (kept != merged)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", 2**63), ("int64", "1"), ("int64", True), ("varchar", 1), ("varchar", "a\0b"), ("boolean", 1),
        ("timestamptz", "0999-01-01 00:00:00+00"), ("timestamptz", "2026-01-01 00:00:00.50+00"), ("timestamptz", ""),
        ("date", "99-01-01"), ("float64", float("nan")), ("float64", -0.0), ("float64", 1), ("list", ["a"]),
        ("struct", "a"), ("uuid", "a"),
    ],
)  # fmt: skip
def test_what_might_be_written_otherwise_is_left_to_duckdb(kind: str, value: Value) -> None:
    with pytest.raises(NotDirect):
        check_values(LakeColumn(1, "it", kind, True, (LakeColumn(2, "in", "int64", True),)), [value])


def test_what_the_table_does_not_allow_is_left_to_duckdb() -> None:
    with pytest.raises(NotDirect, match="without a value"):
        plan_append(state(), Append("t", ("size",), [[1]]), 1)
    with pytest.raises(NotDirect, match="does not have"):
        plan_append(state(), Append("t", ("name", "other"), [["a", 1]]), 1)
    old = state((1, 1), made=Bounds(False, "44-03-15 (BC) 00:00:00+00", MADE))
    with pytest.raises(NotDirect, match="another form"):
        plan_append(old, Append("t", ("name", "made"), [["a", MADE]]), 1)


def test_texts_in_lists_are_quoted_where_they_would_be_read_otherwise() -> None:
    assert (
        cell(["a", "", "null", " a", "a,b", "it's", "a\\", "é"]) == r"[a, '', 'null', ' a', 'a,b', 'it\'s', 'a\\', é]"
    )
