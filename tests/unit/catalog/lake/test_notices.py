"""How a process learns of the commits of others: a notification of the database says which snapshot is there."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.database.listener import CHANNEL, Listener, Rows
from catalog.database.postgresql import connect_postgres
from catalog.lake.metadata.postgresql import PostgresMetadata
from catalog.postgres_address import parse_address
from catalog.settings import read_settings
from oci.errors import CatalogUnavailable
from tests.postgresql import PostgresServer
from tests.servers import wait_until

_SILENT = """CREATE OR REPLACE FUNCTION entrepot.tell_of_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('entrepot_state', ''); RETURN NULL; END $$"""
"""What releases before made of it."""


@pytest.fixture
def connection(postgres: str) -> Iterator["psycopg.Connection[Any]"]:
    with connect_postgres(parse_address(postgres, PostgresServer.password)) as opened:
        yield opened


def _commit(catalog: Catalog) -> None:
    with catalog._lake.write() as writer:
        writer.insert("pulls", [("team/app", "", "sha256:0", date(2026, 1, 1), 1, datetime.now(UTC))])


def test_a_commit_says_which_snapshot_it_made(tmp_path: Path, connection: "psycopg.Connection[Any]") -> None:
    settings = read_settings(home=tmp_path / "home")
    open_catalog(settings).close()
    connection.execute(_SILENT.encode())
    with open_catalog(settings) as catalog:
        connection.execute(f"LISTEN {CHANNEL}".encode())
        _commit(catalog)
        (told,) = connection.notifies(timeout=10, stop_after=1)
        metadata = catalog._lake.metadata
        assert isinstance(metadata, PostgresMetadata)
        assert told.payload == f"snapshot {catalog._lake.sequence.value // 2}"
        number = catalog._lake.sequence.value // 2
        assert metadata._take(f"snapshot {number + 1}")
        assert catalog._lake.sequence.value == 2 * number + 2
        far = (f"snapshot {number + 5000}", f"snapshot {'9' * 5000}", "snapshot ²")
        for other in ("", "snapshot ", "snapshot x", "1000001", *far):
            assert not metadata._take(other)
        assert catalog._lake.sequence.value == 2 * number + 2


def test_nothing_is_written_on_a_database_that_went_back(tmp_path: Path, postgres: str) -> None:
    with open_catalog(read_settings(home=tmp_path / "home")) as catalog:
        _commit(catalog)
        catalog._lake.sequence.advance(catalog._lake.sequence.value // 2 + 2)  # type: ignore[attr-defined]  # PostgreSQL's
        with pytest.raises(CatalogUnavailable, match=r"went back from snapshot .* restart this process"):
            _commit(catalog)


@pytest.fixture
def heard(postgres: str) -> Iterator[tuple[list[str], Callable[[], bool]]]:
    """What a listener takes that looks by itself once a minute, and how often it has looked."""
    taken: list[str] = []
    looks = threading.Semaphore(0)
    listener = Listener(parse_address(postgres, PostgresServer.password), every=60)

    def look(rows: Rows, _is_new: bool) -> None:
        rows("SELECT 1", ())
        looks.release()

    def take(payload: str) -> bool:
        taken.append(payload)
        return payload.startswith("taken")

    listener.watch(look, take=take)
    assert looks.acquire(timeout=10)
    yield taken, lambda: looks.acquire(timeout=10)
    assert not looks.acquire(blocking=False)
    listener.close()


def test_nobody_looks_for_what_a_notification_says(
    heard: tuple[list[str], Callable[[], bool]], connection: "psycopg.Connection[Any]"
) -> None:
    taken, look = heard
    for number in range(3):
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"taken {number}"))
    wait_until(lambda: len(taken) == 3, 10, "all are taken")
    connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
    assert look()
    connection.execute("SELECT pg_notify(%s, 'taken 3')", (CHANNEL,))
    wait_until(lambda: len(taken) == 5, 10, "the last is taken")
    assert taken == ["taken 0", "taken 1", "taken 2", "", "taken 3"]
