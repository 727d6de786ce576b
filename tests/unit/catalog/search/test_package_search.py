"""The look-ups of packages cost what they find, by counting the steps of SQLite's machine, and read no table as a whole."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import pytest

from catalog.documents.package_names import parse_package_term
from catalog.search.package_search import PLACES, TAGS, pairs_value, versions_query
from catalog.search.schema import INDEXES, TABLES

COMMON, RARE, SCOPED = 1, 2, 3
FEW, MANY = 20, 2_000


def make_index(documents: int) -> sqlite3.Connection:
    """An index of as many SBOMs in one repository, each of an image that has a tag and is in an index with a tag.

    The first alone has the rare package. There are half as many versions of the others as documents.
    """
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES + INDEXES)
    fill = connection.executemany
    fill(
        "INSERT INTO texts VALUES (?, ?)",
        [(1, ""), *((number, f"1.{number}") for number in range(2, documents // 2 + 3))],
    )
    names = [(COMMON, "deb", "debian", "common"), (RARE, "deb", "debian", "rare"), (SCOPED, "npm", "@angular", "core")]
    fill("INSERT INTO package_names VALUES (?, 'pkg:' || ?2 || '/' || ?3 || '/' || ?4, ?2, ?3, ?4)", names)
    for number in range(documents):
        image, sbom, index = (f"{kind}{number:028}".encode() for kind in ("img.", "doc.", "idx."))
        first, place = 3 * number + 1, 1
        fill(
            "INSERT INTO manifests VALUES (?, ?, ?)",
            [(first, image, "image"), (first + 1, sbom, "sbom"), (first + 2, index, "index")],
        )
        fill("INSERT OR IGNORE INTO repositories VALUES (?, ?, 1)", [(place, f"team/app{place}")])
        fill("INSERT INTO members VALUES (?, ?, 1, 0)", [(first + more, place) for more in range(3)])
        fill("INSERT INTO tag_names VALUES (?, ?)", [(2 * number + more + 1, f"v{number}-{more}") for more in range(2)])
        fill(
            "INSERT INTO tags VALUES (?, ?, 1, 0, ?)",
            [(2 * number + 1, place, first), (2 * number + 2, place, first + 2)],
        )
        fill("INSERT INTO index_children VALUES (?, ?)", [(image, first + 2)])
        fill(
            "INSERT INTO documents (manifest, repository, subject, layers, state) VALUES (?, ?, ?, '', 1)",
            [(first + 1, place, image)],
        )
        packages = [COMMON, SCOPED, *([RARE] if number == 0 else [])]
        fill(
            "INSERT INTO packages VALUES (?, ?, ?, 1, 1)",
            [(first + 1, one, 2 + number % (documents // 2 + 1)) for one in packages],
        )
    return connection


def count_steps(
    connection: sqlite3.Connection, sql: str, values: Sequence[str | int]
) -> tuple[int, list[tuple[object, ...]]]:
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    rows = connection.execute(sql, values).fetchall()
    connection.set_progress_handler(None, 0)
    return steps, rows


def look_up(connection: sqlite3.Connection, text: str) -> tuple[int, list[tuple[object, ...]], set[object]]:
    """Look a package up in all versions; return the steps of all queries, the places found, and the tags."""
    first, versions = count_steps(connection, *versions_query(parse_package_term(text), 10_000))
    pairs = pairs_value((int(str(row[0])), int(str(row[2]))) for row in versions)
    second, places = count_steps(connection, PLACES, [pairs, 10_000])
    found = pairs_value((int(str(row[0])), int(str(row[1]))) for row in places)
    third, tags = count_steps(connection, TAGS, [found, 10_000])
    return first + second + third, places, {row[2] for row in tags}


def test_a_rare_package_costs_the_same_among_few_and_many_sboms() -> None:
    with closing(make_index(FEW)) as few, closing(make_index(MANY)) as many:
        small, large = look_up(few, "rare"), look_up(many, "rare")
    assert small[1:] == large[1:]
    assert large[2] == {"v0-0", "v0-1"}  # its own tag, and that of the index which lists it
    assert large[0] <= small[0] * 1.1


def test_a_common_package_costs_what_it_finds() -> None:
    with closing(make_index(FEW)) as few, closing(make_index(MANY)) as many:
        small, large = look_up(few, "common"), look_up(many, "common")
    assert (len(small[1]), len(large[1])) == (FEW, MANY)
    assert large[0] / MANY <= small[0] / FEW * 1.1


@pytest.mark.parametrize("text", ["core", "@angular/core", "pkg:npm/%40angular/core"])
def test_names_with_and_without_namespace(text: str) -> None:
    with closing(make_index(1)) as connection:
        connection.execute("UPDATE package_names SET package = 'pkg:npm/%40angular/core' WHERE id = ?", [SCOPED])
        assert [row[10] for row in look_up(connection, text)[1]] == ["core"]
        assert not look_up(connection, "angular/core")[1]


@pytest.mark.parametrize(
    ("sql", "values"),
    [
        versions_query(parse_package_term("rare"), 1),
        versions_query(parse_package_term("pkg:deb/debian/rare"), 1),
        (PLACES, ["[]", 1]),
        (TAGS, ["[]", 1]),
    ],
)
def test_no_table_is_read_as_a_whole(sql: str, values: list[str | int]) -> None:
    with closing(make_index(1)) as connection:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    scans = {step.split()[1] for step in plan if step.startswith("SCAN")}
    assert scans <= {"json_each", "hits", "found", "about", "reached", "CONSTANT"}, plan
