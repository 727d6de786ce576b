"""What a search may cost: counted in rows and in steps of SQLite, whatever others have in the index."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from catalog.search.budget import SearchBudget
from catalog.search.lookup import Lookup
from catalog.search.schema import INDEXES, TABLES
from catalog.search.terms import SearchScope, SearchTerm, parse_term

TAGS = 5000
OWN = [SearchScope("own", None)]


@pytest.fixture
def index() -> Iterator[sqlite3.Connection]:
    """An index of much that is private, and of little that is not: the same tag, label and package."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(TABLES + INDEXES)
        connection.execute("BEGIN")
        connection.execute("INSERT INTO label_keys VALUES (1, 'team')")
        connection.executemany("INSERT INTO repositories VALUES (?, ?, 1)", [(1, "private"), (2, "own")])
        for number in range(TAGS + 1):
            repository = 2 if number == TAGS else 1
            connection.execute(
                "INSERT INTO manifests VALUES (?, ?, 'sbom')", [number, b"\xab\xcd\xef\x12" + number.to_bytes(28)]
            )
            connection.execute("INSERT INTO tag_names VALUES (?, ?)", [number, f"v{number}"])
            connection.execute("INSERT INTO package_names VALUES (?, ?, '', '', ?)", [number, *[f"lib{number}"] * 2])
            connection.execute("INSERT INTO tags VALUES (?, ?, 1, 0, ?)", [number, repository, number])
            connection.execute("INSERT INTO members VALUES (?, ?, 1, 0)", [number, repository])
            connection.execute("INSERT INTO blobs VALUES (?, ?, 1, 0)", [0xABCDEF1 << 32 | number, repository])
            connection.execute("INSERT INTO labels VALUES (1, ?, 'x')", [number])
            connection.execute("INSERT INTO documents VALUES (?, ?, x'', '', 1, 1, 0, '', 1, '')", [number, repository])
            connection.execute("INSERT INTO packages VALUES (?, ?, 1, 1, 1)", [number, number])
        connection.execute("COMMIT")
        yield connection


def look(index: sqlite3.Connection, text: str, **limits: int) -> tuple[list[str], Lookup]:
    lookup = Lookup.within(index, OWN)
    lookup.budget = SearchBudget(clock=lambda: 0.0, **limits)
    return [one.repository for one in lookup.find(parse_term(text), 51)], lookup


@pytest.mark.parametrize("text", ["abcdef1", "team=", "team=x", "package:lib", "v"])
@pytest.mark.parametrize("few", [0, 200])
def test_rows_of_others_are_not_counted(
    index: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, text: str, few: int
) -> None:
    monkeypatch.setattr("catalog.search.lookup._FEW", few)
    found, lookup = look(index, text, rows=20)
    assert (set(found), lookup.is_cut) == ({"own"}, False)


def test_rows_of_ones_own_are_counted(index: sqlite3.Connection) -> None:
    index.execute("UPDATE members SET repository = 2")
    found, lookup = look(index, "team=", rows=20)
    assert (found, lookup.is_cut, lookup.budget.read) == (["own"] * 19, True, 21)


@pytest.mark.parametrize("text", ["abcdef1", "team=none", "package:nothing", "nothing", "package:lib"])
def test_sqlite_is_stopped_once_it_has_done_enough(index: sqlite3.Connection, text: str) -> None:
    _, lookup = look(index, text, steps=3000)
    assert lookup.is_cut
    assert lookup.budget.done <= 4000
    assert index.execute("SELECT count(*) FROM tags").fetchone() == (TAGS + 1,)  # what comes later is not stopped


def test_time_is_part_of_the_budget(index: sqlite3.Connection) -> None:
    lookup = Lookup.within(index, OWN)
    times = iter([0.0, 0.5, *[1.5] * 100])
    lookup.budget = SearchBudget(seconds=1.0, clock=lambda: next(times))
    assert lookup.find(SearchTerm("package", "nothing"), 51) == []
    assert (lookup.is_cut, lookup.budget.done) == (True, 2000)


def test_tags_of_others_cost_nothing_where_few_repositories_may_be_seen(index: sqlite3.Connection) -> None:
    tags = list(Lookup.within(index, OWN)._tags("v"))
    assert [one.repository for one in tags] == ["own"]
    lookup = Lookup.within(index, OWN)
    lookup.budget = SearchBudget(rows=10)
    assert [one.tag for one in lookup._tags("v")] == [f"v{TAGS}"]
    assert lookup.budget.read < 10


def test_names_of_others_leave_room_for_ones_own(index: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.search.lookup.MOST_NAMES", 100)
    found, lookup = look(index, "package:lib")
    assert (found, lookup.is_cut) == (["own"], False)


def test_names_are_cut_where_many_hold_the_text(index: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.search.lookup.MOST_NAMES", 10)
    index.execute("UPDATE documents SET repository = 2")
    index.execute("UPDATE members SET repository = 2")
    found, lookup = look(index, "package:lib")
    assert (found, lookup.is_cut) == (["own"] * 10, True)
    assert lookup.budget.read < 50


def test_blobs_are_within_the_budget_too(index: sqlite3.Connection) -> None:
    lookup = Lookup.within(index, OWN)
    lookup.budget = SearchBudget(rows=10)
    assert ({name for name, _ in lookup.find_blobs("abcdef1", 51)}, lookup.is_cut) == ({"own"}, False)
    lookup.budget = SearchBudget(rows=100)
    index.execute("UPDATE blobs SET repository = 2")
    assert (len(lookup.find_blobs("abcdef1", 200)), lookup.is_cut) == (99, True)


def test_a_broken_index_is_no_spent_budget(index: sqlite3.Connection) -> None:
    index.execute("DROP TABLE packages")
    with pytest.raises(sqlite3.OperationalError):
        look(index, "package:lib")
