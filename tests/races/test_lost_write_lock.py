"""A writer whose session the server ends, so that another process writes in the midst of its write."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from catalog.database.postgresql import PostgresDatabase
from catalog.lake.connection import Lake
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.postgresql import PostgresMetadata
from catalog.postgres_address import parse_address
from catalog.versions.change_feed import ChangeFeed
from oci.errors import CatalogUnusable
from tests.postgresql import PostgresServer

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

    def late() -> int:
        monkeypatch.setattr(ours.metadata, "finish", finish)
        loses(ours)
        put(other, "other")
        return finish()

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

    def fail(connection: duckdb.DuckDBPyConnection) -> None:
        monkeypatch.undo()
        connection.execute("FROM nothing_of_that_name")

    monkeypatch.setattr(lake.metadata, "pin", fail)
    with pytest.raises(CatalogUnusable):
        put(lake, "failed", by_duckdb=True)
    put(lake, "next", by_duckdb=True)
    assert digests(lake) == {"first", "second", "next"}
