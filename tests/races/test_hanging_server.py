"""A server that keeps connections and answers nothing: who waits for it, and for how long."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from catalog.database.postgresql import PostgresDatabase
from catalog.database.session_locks import SessionLocks
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.postgresql import PostgresMetadata
from catalog.postgres_address import PostgresAddress, parse_address
from oci.errors import CatalogBusy, CatalogUnavailable
from tests.postgresql import PostgresServer, stopped_sessions


@pytest.fixture
def address(postgres_server: PostgresServer) -> PostgresAddress:
    return parse_address(postgres_server.new_database(), postgres_server.password)


@contextmanager
def stopped(server: PostgresServer, address: PostgresAddress) -> Iterator[None]:
    """Stop the server's side of all sessions of a database that are open now."""
    with stopped_sessions(server, address.database, "usename = 'entrepot'"):
        yield


def test_locks_are_given_up_with_a_session_that_hangs(
    postgres_server: PostgresServer, address: PostgresAddress
) -> None:
    locks = SessionLocks(address)
    assert locks.try_lock("held")
    with stopped(postgres_server, address), ThreadPoolExecutor(8) as threads:
        began = time.monotonic()
        answers = list(threads.map(locks.holds, ["held"] * 8))
        assert time.monotonic() - began < 6, "one of them waits, and the others for it"
        assert answers == [False] * 8
        assert locks.try_lock("another"), "by another session"
        assert not locks.try_lock("held"), "the session that hangs has it"
    locks.close()


def test_locks_are_refused_while_nobody_can_connect(postgres_server: PostgresServer, address: PostgresAddress) -> None:
    locks = SessionLocks(address)
    postgres_server.execute(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS false")
    for _ in range(2):
        with pytest.raises(CatalogUnavailable):
            locks.try_lock("a")
    postgres_server.execute(f"ALTER DATABASE {address.database} ALLOW_CONNECTIONS true")
    time.sleep(1)
    assert locks.try_lock("a")
    locks.close()


def test_a_pool_whose_connections_hang_is_renewed_in_seconds(
    postgres_server: PostgresServer, address: PostgresAddress
) -> None:
    database = PostgresDatabase(address)
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(database.transaction())
    with stopped(postgres_server, address):
        began = time.monotonic()
        database._pool.check()
        assert time.monotonic() - began < 4
        assert database.rows("SELECT 1") == [(1,)], "by a new connection"
    database.close()


def test_a_writer_without_patience_does_not_wait(tmp_path: Path, address: PostgresAddress) -> None:
    """A timeout of less than a millisecond is one of 0 for the server, which is none."""
    databases = [PostgresDatabase(address) for _ in range(2)]
    first, second = (
        PostgresMetadata(database, LakeData(f"{tmp_path}/"), lock_timeout=0.0005) for database in databases
    )
    with first.lock():
        pass
    with first.lock(), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(second.lock().__enter__)
        with pytest.raises(CatalogBusy):
            waiting.result(timeout=5)
    for metadata, database in zip((first, second), databases, strict=True):
        metadata.close()
        database.close()
