"""A writer whose session the server ends, so that another process writes in the midst of its write."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from catalog.database.postgresql import PostgresDatabase
from catalog.lake import connection
from catalog.lake.connection import Lake
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.postgresql import PostgresMetadata
from catalog.lake.schema import SCHEMA_VERSION
from catalog.postgres_address import parse_address
from catalog.versions.change_feed import ChangeFeed
from oci.errors import CatalogUnavailable, CatalogUnusable
from tests.postgresql import PostgresServer
from tests.servers import wait_until

Loses = Callable[[Lake], None]


@pytest.fixture
def lakes(tmp_path: Path, postgres_server: PostgresServer) -> Iterator[tuple[Lake, Lake]]:
    """One lake, opened as by two processes; both commit directly."""
    address = parse_address(postgres_server.new_database(), postgres_server.password)
    databases = [PostgresDatabase(address) for _ in range(2)]
    opened = []
    for database in databases:
        metadata = PostgresMetadata(database, LakeData(f"{tmp_path / 'data'}/"), lock_timeout=10)
        opened.append(
            Lake(
                tmp_path / "catalog.sqlite",
                memory="256MB",
                threads=1,
                lock_timeout=10,
                worker_after=0,
                metadata=metadata,
            )
        )
    put(opened[0], "first")
    put(opened[1], "second")
    yield opened[0], opened[1]
    for lake in opened:
        lake.close()
    for database in databases:
        database.close()


@pytest.fixture
def loses(postgres_server: PostgresServer) -> Loses:
    """Ends the session by which a lake holds the lock."""

    def lose(lake: Lake) -> None:
        assert isinstance(lake.metadata, PostgresMetadata)
        process = lake.metadata.lock_connection.info.backend_pid
        postgres_server.execute(f"SELECT pg_terminate_backend({process}, 5000)")

    return lose


def put(lake: Lake, digest: str, *, by_duckdb: bool = False) -> tuple[int, int]:
    """Commit one row; return the positions before and after."""
    with lake.write() as writer:
        writer.insert("pulls", [("team/app", "", digest, date(2026, 1, 1), 1, datetime.now(UTC))])
        if by_duckdb:
            writer.begin()
        writer.describe("somebody", "the same", acts=1)
    return writer.before, writer.after


def digests(lake: Lake) -> set[str]:
    return {str(row[0]) for row in lake.read("SELECT digest FROM pulls")}


@pytest.mark.parametrize("by_duckdb", [False, True])
def test_the_commit_of_another_writer_is_not_taken_for_ones_own(
    lakes: tuple[Lake, Lake], loses: Loses, monkeypatch: pytest.MonkeyPatch, by_duckdb: bool
) -> None:
    """Both say the same of what they commit, and the other's has the number that ours was to have."""
    ours, other = lakes
    commit = type(ours)._commit

    def overtaken(lake: Lake, writer: object) -> str:
        if lake is ours:
            loses(ours)
            put(other, "other")
        return commit(lake, writer)  # type: ignore[arg-type]

    monkeypatch.setattr(Lake, "_commit", overtaken)
    with pytest.raises(CatalogUnusable):
        put(ours, "ours", by_duckdb=by_duckdb)
    assert digests(other) == {"first", "second", "other"}


def test_what_another_has_written_before_the_end_of_a_write_is_not_taken_as_read(
    lakes: tuple[Lake, Lake], loses: Loses, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = lakes
    feed = ChangeFeed(ours)
    finish = ours.metadata.finish

    def late(*, is_direct: bool) -> int:
        monkeypatch.setattr(ours.metadata, "finish", finish)
        loses(ours)
        put(other, "other")
        return finish(is_direct=is_direct)

    ours.confirm()
    feed.acknowledge(feed.read())
    monkeypatch.setattr(ours.metadata, "finish", late)
    feed.skip_own_commit(*put(ours, "ours"))
    ours.confirm()
    assert not feed.is_current()


def test_a_thread_whose_transaction_could_not_begin_begins_the_next(
    lakes: tuple[Lake, Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _ = lakes

    def fail(cursor: duckdb.DuckDBPyConnection) -> None:
        monkeypatch.undo()
        cursor.execute("FROM nothing_of_that_name")

    monkeypatch.setattr(lake.metadata, "pin", fail)
    with pytest.raises(CatalogUnusable):
        put(lake, "failed", by_duckdb=True)
    put(lake, "next", by_duckdb=True)
    assert digests(lake) == {"first", "second", "next"}


FLUSH = "CALL ducklake_flush_inlined_data('lake', table_name => 'pulls')"
MERGE = "CALL ducklake_merge_adjacent_files('lake')"
EXPIRE = "CALL ducklake_expire_snapshots('lake', versions => [1, 2])"
CLEAN = "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)"


def state(lake: Lake) -> set[tuple[object, ...]]:
    """Return what maintenance changes: snapshots, files, and rows that are kept in the bookkeeping."""
    meta = "__ducklake_metadata_lake"
    return {
        *lake.read(f"SELECT 'snapshot', snapshot_id FROM {meta}.ducklake_snapshot"),
        *lake.read(f"SELECT 'file', data_file_id FROM {meta}.ducklake_data_file"),
        *lake.read("SELECT 'row', digest FROM pulls"),
    }


@pytest.mark.parametrize("moment", ["pin", "check_held"])
@pytest.mark.parametrize("sql", ["", FLUSH, MERGE, EXPIRE, CLEAN])
def test_maintenance_that_has_lost_the_lock_changes_nothing(
    lakes: tuple[Lake, Lake], loses: Loses, monkeypatch: pytest.MonkeyPatch, moment: str, sql: str
) -> None:
    """Before its transaction begins, and before that ends; another process writes meanwhile."""
    ours, other = lakes
    after: list[set[tuple[object, ...]]] = []
    real = getattr(ours.metadata, moment)

    def overtaken(*arguments: object) -> None:
        monkeypatch.undo()
        loses(ours)
        if moment == "pin":
            ours.cursor().execute("ROLLBACK")
        put(other, "other")
        after.append(state(other))
        if moment == "pin":
            ours.cursor().execute("BEGIN")
        real(*arguments)

    monkeypatch.setattr(ours.metadata, moment, overtaken)
    with pytest.raises(CatalogUnavailable):
        ours.maintain(sql) if sql else ours.flush("pulls")
    assert [state(other)] == after
    assert digests(other) == {"first", "second", "other"}
    ours.maintain(sql) if sql else ours.flush("pulls")
    assert digests(ours) == {"first", "second", "other"}


def test_the_lock_need_not_be_asked_for_by_what_makes_a_snapshot(
    lakes: tuple[Lake, Lake], loses: Loses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of a snapshot is given once, however late the lock is lost."""
    ours, other = lakes

    def overtaken() -> None:
        monkeypatch.undo()
        loses(ours)
        put(other, "other")

    monkeypatch.setattr(ours.metadata, "check_held", overtaken)
    with pytest.raises(CatalogUnavailable):
        ours.flush("pulls")
    assert digests(other) == {"first", "second", "other"}


@pytest.mark.parametrize("moment", ["check_mark", "check_held"])
def test_a_step_of_the_schema_is_made_once(
    tmp_path: Path, postgres_server: PostgresServer, loses: Loses, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Another process makes it once the lock is lost: after this one has looked, and while it makes the step."""
    address = parse_address(postgres_server.new_database(), postgres_server.password)
    count = SCHEMA_VERSION
    databases = [PostgresDatabase(address) for _ in range(2)]

    def open_lake(database: PostgresDatabase) -> Lake:
        metadata = PostgresMetadata(database, LakeData(f"{tmp_path / 'data'}/"), lock_timeout=10)
        return Lake(tmp_path / "catalog.sqlite", memory="256MB", threads=1, lock_timeout=10, metadata=metadata)

    with monkeypatch.context() as older:
        older.setattr(connection, "SCHEMA_VERSION", count - 1)
        open_lake(databases[0]).close()
    real = getattr(PostgresMetadata, moment)

    def overtaken(metadata: PostgresMetadata) -> None:
        monkeypatch.undo()
        process = metadata.lock_connection.info.backend_pid
        postgres_server.execute(f"SELECT pg_terminate_backend({process}, 5000)")
        open_lake(databases[1]).close()
        if moment == "check_held":
            real(metadata)

    monkeypatch.setattr(PostgresMetadata, moment, overtaken)
    with pytest.raises(CatalogUnavailable):
        open_lake(databases[0])
    lake = open_lake(databases[0])
    numbers = lake.read("SELECT number FROM schema_versions ORDER BY number")
    assert numbers == [(number,) for number in range(1, count + 1)]
    lake.close()
    for database in databases:
        database.close()


def test_who_gets_the_lock_builds_on_what_was_committed_while_it_waited(
    lakes: tuple[Lake, Lake], loses: Loses, postgres_server: PostgresServer
) -> None:
    """Also where transactions of the database see by default what there was when they began."""
    ours, other = lakes
    assert isinstance(ours.metadata, PostgresMetadata)
    database = ours.metadata.address.database
    postgres_server.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'")
    loses(ours)
    waits = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'advisory'"
    with ThreadPoolExecutor(1) as threads:
        with other.write() as writer:
            waiting = threads.submit(put, ours, "later")
            wait_until(lambda: bool(postgres_server.execute(waits)), 10, "ours waits for the lock")
            writer.insert("pulls", [("team/app", "", "sooner", date(2026, 1, 1), 1, datetime.now(UTC))])
        assert waiting.result(timeout=30) == (writer.after, writer.after + 2)
    assert digests(ours) == {"first", "second", "sooner", "later"}
