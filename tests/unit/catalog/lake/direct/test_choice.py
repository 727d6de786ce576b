from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.lake.direct.append import Append
from catalog.lake.direct.choice import DIRECT, INLINED_ROWS, PROVEN, duckdb_reason
from catalog.lake.direct.columns import NotDirect
from catalog.lake.direct.supervisor import WorkerDied
from catalog.settings import read_settings
from oci.errors import CatalogUnusable
from tests.unit.catalog.conftest import push_image

RELEASE = next(iter(PROVEN))
SMALL = ("records", 1)


@pytest.mark.parametrize(
    ("sizes", "only_appends", "is_allowed", "release", "reason"),
    [
        ([SMALL], True, True, RELEASE, None),
        ([SMALL], True, False, RELEASE, "direct commits are switched off"),
        ([SMALL], True, True, ("1.6.0", RELEASE[1]), "another release of DuckDB"),
        ([SMALL], True, True, (RELEASE[0], "other"), "another release of DuckDB"),
        ([SMALL], False, True, RELEASE, "more than appends"),
        ([SMALL, SMALL], True, True, RELEASE, "a table twice"),
        ([("records", INLINED_ROWS)], True, True, RELEASE, None),
        ([("records", INLINED_ROWS + 1)], True, True, RELEASE, "many rows"),
    ],
)
def test_the_choice(
    sizes: list[tuple[str, int]], only_appends: bool, is_allowed: bool, release: tuple[str, str], reason: str | None
) -> None:
    assert duckdb_reason(sizes, only_appends=only_appends, is_allowed=is_allowed, release=release) == reason


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    opened = Lake(tmp_path / "catalog.sqlite", memory="200MB", threads=1, lock_timeout=10, worker_after=0)
    opened.worker.start()
    assert opened.worker.is_ready(wait=30)
    yield opened
    opened.close()


def add(lake: Lake, number: int, **more: object) -> None:
    with lake.write() as writer:
        writer.append("records", [
            {"repository": "a", "version": number, "action": "add", "kind": "version", **more}
        ])  # fmt: skip
        writer.describe("somebody", "writes", versions={"a": range(number, number + 1)})


def numbers(lake: Lake) -> list[object]:
    return [row[0] for row in lake.read("SELECT version FROM records ORDER BY rowid")]


def test_small_appends_go_directly_and_all_else_by_duckdb(lake: Lake) -> None:
    add(lake, 1, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    with lake.write() as writer:
        writer.append("records", [{"repository": "a", "version": 2, "action": "add", "kind": "version"}])
        writer.execute("UPDATE records SET message = 'seen' WHERE version = 2")
        writer.describe("somebody", "writes")
    add(lake, 3, created_at=datetime(2026, 1, 1))  # noqa: DTZ001  # DuckDB takes it for one of its own zone
    assert lake.commit_counts == {DIRECT: 1, "more than appends": 1, "a time without a zone": 1}
    assert numbers(lake) == [1, 2, 3]
    assert lake.read("SELECT message FROM records WHERE version = 2") == [("seen",)]


def test_an_error_within_a_write_undoes_what_was_gathered(lake: Lake) -> None:
    with pytest.raises(ZeroDivisionError), lake.write() as writer:  # noqa: PT012  # both belong to it
        writer.append("records", [{"repository": "a", "version": 1, "action": "add", "kind": "version"}])
        raise ZeroDivisionError
    assert numbers(lake) == []
    assert lake.commit_counts.total() == 0


def test_what_both_writers_refuse_is_told_as_ever(lake: Lake) -> None:
    with pytest.raises(CatalogUnusable, match="cannot write the catalogue"), lake.write() as writer:
        writer.append("records", [{"repository": "a"}])
    add(lake, 1)
    assert numbers(lake) == [1]


def test_a_schema_that_changes_meanwhile_is_noticed(lake: Lake) -> None:
    add(lake, 1)
    with lake.write() as writer:
        writer.execute("ALTER TABLE records ADD COLUMN more VARCHAR")
        writer.describe("somebody", "writes")
    add(lake, 2)
    add(lake, 3, more="text")
    assert lake.read("SELECT version, more FROM records ORDER BY version") == [(1, None), (2, None), (3, "text")]
    assert lake.commit_counts == {DIRECT: 3, "more than appends": 1}


@pytest.mark.parametrize("has_landed", [True, False])
def test_a_commit_whose_worker_died_is_looked_for(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, has_landed: bool
) -> None:
    add(lake, 1)
    commit = lake.worker.commit

    def die(*args: object) -> int:
        newest = lake.read("SELECT max(snapshot_id) FROM __ducklake_metadata_lake.ducklake_snapshot")[0][0]
        if has_landed:
            commit(*args)  # type: ignore[arg-type]
        lake.worker.stop(now=True)
        raise WorkerDied(int(str(newest)) + 1)

    monkeypatch.setattr(lake.worker, "commit", die)
    add(lake, 2)
    monkeypatch.undo()
    add(lake, 3)
    assert numbers(lake) == [1, 2, 3]
    by_duckdb = {"no worker yet": 1} if has_landed else {"the worker died": 1, "no worker yet": 1}
    assert lake.commit_counts == {DIRECT: 2 if has_landed else 1, **by_duckdb}


def test_a_format_that_is_not_known_is_left_to_duckdb(lake: Lake) -> None:
    """The bookkeeping is asked in each transaction, since another program may have migrated it."""
    add(lake, 1)
    sql = "UPDATE __ducklake_metadata_lake.ducklake_metadata SET value = ? WHERE key = 'version'"
    lake.cursor().execute(sql, ["1.1"])
    add(lake, 2)
    lake.cursor().execute(sql, ["1.0"])
    add(lake, 3)
    assert lake.commit_counts == {DIRECT: 2, "another version of DuckLake's format, or encryption": 1}
    assert numbers(lake) == [1, 2, 3]


def test_a_request_with_a_stale_fencing_token_is_refused(lake: Lake) -> None:
    add(lake, 1)
    rows = Append("records", ("repository", "version", "action", "kind"), [["a", 2, "add", "version"]])
    with pytest.raises(NotDirect, match="lock was lost"):
        lake.worker.commit(lake.sequence.value + 1, [rows], "somebody", "writes", "{}")
    assert numbers(lake) == [1]
    add(lake, 2)
    assert numbers(lake) == [1, 2]


def test_the_setting_gives_all_commits_to_duckdb(tmp_path: Path) -> None:
    with Catalog(read_settings(home=tmp_path, direct_commits=False)) as catalog:
        for number in range(6):
            push_image(catalog, "team/app", f"v{number}", str(number))
        assert set(catalog._lake.commit_counts) == {"direct commits are switched off"}
        assert catalog._lake.worker.pid is None


def test_a_process_that_commits_seldom_starts_no_worker(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "catalog.sqlite", memory="200MB", threads=1, lock_timeout=10)
    for number in range(1, 5):
        add(lake, number)
        assert lake.worker.pid is None
    add(lake, 5)
    assert lake.worker.pid is not None
    lake.close()
