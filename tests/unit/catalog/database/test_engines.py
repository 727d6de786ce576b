"""One interface, two engines: what tenants rely on holds for SQLite and for PostgreSQL."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.database.engine import Database, Schema
from catalog.database.postgresql import PostgresDatabase
from catalog.database.sqlite import SqliteDatabase
from catalog.postgres_address import parse_address
from oci.errors import CatalogUnavailable, CatalogUnusable
from tests.postgresql import PostgresServer

_TABLE = "CREATE TABLE things (name TEXT PRIMARY KEY, number BIGINT NOT NULL, body BYTEA)"
SCHEMA = Schema("things", (_TABLE,), (_TABLE,))
Opener = Callable[[Schema], Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same database again and again, with a schema."""
    opened: list[Database] = []
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()

    def open_it(schema: Schema) -> Database:
        database: Database
        if url:
            database = PostgresDatabase(parse_address(url, PostgresServer.password))
            opened.append(database)
            database.migrate(schema)
        else:
            database = SqliteDatabase(tmp_path / "things.sqlite", schema)
            opened.append(database)
        return database

    yield open_it
    for one in opened:
        one.close()


def _delete_and_fail(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("DELETE FROM things")
        raise ZeroDivisionError


def test_what_a_transaction_writes_is_there_and_what_an_error_leaves_is_not(opener: Opener) -> None:
    database = opener(SCHEMA)
    with database.transaction() as connection:
        connection.execute("INSERT INTO things VALUES (?, ?, ?)", ("50% of ö", 2**53, b"\0\xff"))
        connection.executemany("INSERT INTO things VALUES (?, ?, NULL)", [("b", 1), ("c", 2)])
    with pytest.raises(ZeroDivisionError):
        _delete_and_fail(database)
    assert database.rows("SELECT name, number, body FROM things WHERE name LIKE '50%'") == [
        ("50% of ö", 2**53, b"\0\xff")
    ]
    assert opener(SCHEMA).rows("SELECT count(*) FROM things") == [(3,)]


def test_a_transaction_tells_how_many_rows_it_changed(opener: Opener) -> None:
    database = opener(SCHEMA)
    with database.transaction() as connection:
        connection.execute("INSERT INTO things VALUES ('a', 1, NULL), ('b', 1, NULL)")
        assert connection.execute("UPDATE things SET number = 2").rowcount == 2
        assert connection.execute("SELECT number FROM things WHERE name = ?", ("a",)).fetchone()[0] == 2
        assert connection.execute("SELECT number FROM things WHERE name = ?", ("z",)).fetchone() is None


def test_a_change_of_one_statement_tells_how_many_rows_it_changed_and_is_seen_by_all(opener: Opener) -> None:
    database, other = opener(SCHEMA), opener(SCHEMA)
    assert database.change("INSERT INTO things VALUES (?, ?, NULL), ('b', 1, NULL)", ("a", 2)) == 2
    assert database.change("DELETE FROM things WHERE name = ?", ("c",)) == 0
    assert other.rows("SELECT name FROM things ORDER BY name") == [("a",), ("b",)]


def test_names_that_another_transaction_has_are_not_waited_for(opener: Opener) -> None:
    database, other = opener(SCHEMA), opener(SCHEMA)
    with database.transaction() as connection:
        assert database.lock_free(connection, ["a", "b"]) == {"a", "b"}
        if database.is_shared:  # else the other has to wait for all of the file
            with other.transaction() as further:
                assert other.lock_free(further, ["b", "c"]) == {"c"}
    with other.transaction(["a"]) as connection:
        assert other.lock_free(connection, ["a", "b", "c"]) == {"a", "b", "c"}


def test_a_schema_is_brought_up_to_date_once_and_a_newer_one_is_for_replicas_alone(opener: Opener) -> None:
    opener(SCHEMA)
    further = (_TABLE, "ALTER TABLE things ADD COLUMN further TEXT; UPDATE things SET further = 'x'")
    newer = Schema("things", further, further)
    assert opener(newer).rows("SELECT further FROM things") == []
    assert opener(newer).rows("SELECT further FROM things") == []
    if not opener(newer).is_shared:
        with pytest.raises(CatalogUnusable, match="newer release"):
            opener(SCHEMA)
        return
    older = opener(SCHEMA)  # replicas of two releases go on side by side
    older.change("INSERT INTO things VALUES ('n', 0, NULL)")
    assert opener(newer).rows("SELECT name, further FROM things") == [("n", None)]


def test_two_that_lock_the_same_name_do_not_lose_each_others_change(opener: Opener) -> None:
    database, other = opener(SCHEMA), opener(SCHEMA)
    with database.transaction() as connection:
        connection.execute("INSERT INTO things VALUES ('n', 0, NULL)")

    def count(which: Database) -> None:
        for _ in range(25):
            with which.transaction(["n", "m"]) as connection:
                (number,) = connection.execute("SELECT number FROM things WHERE name = 'n'").fetchone()
                connection.execute("UPDATE things SET number = ?", (number + 1,))

    threads = [threading.Thread(target=count, args=(which,)) for which in (database, other) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.rows("SELECT number FROM things") == [(100,)]


def test_connections_that_the_server_has_ended_are_replaced(postgres_server: PostgresServer) -> None:
    database = PostgresDatabase(parse_address(postgres_server.new_database(), PostgresServer.password))
    try:
        database.migrate(SCHEMA)
        for _ in range(2):
            postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entrepot'")
            assert database.rows("SELECT count(*) FROM things") == [(0,)]
            postgres_server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entrepot'")
            with database.transaction() as connection:
                connection.execute("SELECT 1")
    finally:
        database.close()


def test_a_wrong_password_does_not_pass_by_itself_and_is_not_told(postgres_server: PostgresServer) -> None:
    with pytest.raises(CatalogUnusable, match="password authentication failed") as refused:
        PostgresDatabase(parse_address(postgres_server.new_database(), "wrong-one"))
    assert not isinstance(refused.value, CatalogUnavailable)
    assert "wrong-one" not in str(refused.value)


def test_a_server_that_is_away_is_told_as_such() -> None:
    with pytest.raises(CatalogUnavailable, match=r"cannot use postgresql://u@127\.0\.0\.1:1/x"):
        PostgresDatabase(parse_address("postgresql://u@127.0.0.1:1/x", ""))


def test_a_full_disk_of_the_server_does_not_pass_by_itself(postgres_server: PostgresServer) -> None:
    database = PostgresDatabase(parse_address(postgres_server.new_database(), PostgresServer.password))
    with pytest.raises(CatalogUnusable, match="no room left") as raised, database.transaction() as connection:
        connection.execute("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$")
    assert not isinstance(raised.value, CatalogUnavailable)
    database.close()
