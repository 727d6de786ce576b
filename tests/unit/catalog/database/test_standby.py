"""A database that is away, or that answers as a standby: errors that pass by themselves, and connections that are given up."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import duckdb
import pytest

from catalog.blobs.lake_data import lake_place
from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.query.process import open_for_question
from catalog.query.question import Limits, Question
from catalog.query.task import Task
from catalog.settings import read_settings
from oci.errors import CatalogUnavailable
from tests.homes import new_home
from tests.postgresql import PostgresServer
from tests.unit.catalog.conftest import push_image
from tests.unit.catalog.state.test_documents import END_LISTENERS

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STANDBY = "SET default_transaction_read_only = on"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Catalog]:
    """A catalogue with some commits, so that direct ones are made."""
    home = new_home(tmp_path_factory.mktemp("standby") / "entrepot")
    settings = read_settings(
        home=home, catalog=postgres_server.new_database(), catalog_password=PostgresServer.password
    )
    with open_catalog(settings) as opened:
        for number in range(6):
            push_image(opened, "app", f"v{number}", f"image {number}")
        assert opened._lake.commit_counts["direct"] > 0
        yield opened


def database_of(catalog: Catalog) -> str:
    address = catalog.settings.catalog_address
    assert address is not None
    return address.database


@pytest.fixture
def make_standby(catalog: Catalog, postgres_server: PostgresServer) -> Iterator[Callable[[], None]]:
    """Makes all sessions read-only, those that are open and those to come."""
    name = database_of(catalog)

    def make() -> None:
        postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    yield make
    postgres_server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


def test_a_direct_commit_to_a_standby_is_to_be_tried_again_by_another_connection(catalog: Catalog) -> None:
    connection = catalog._lake.metadata.lock_connection  # type: ignore[attr-defined]
    connection.execute(STANDBY)
    before = catalog._lake.commit_counts.total()
    with pytest.raises(CatalogUnavailable):
        push_image(catalog, "app", "latest", "refused")
    assert (connection.closed, catalog._lake.commit_counts.total()) == (True, before)
    push_image(catalog, "app", "latest", "taken")


def test_a_statement_to_a_standby_is_to_be_tried_again_by_another_connection(catalog: Catalog) -> None:
    assert catalog.state is not None
    database = catalog.state.database
    database.change(STANDBY)
    refused = 0
    for _ in range(20):
        try:
            database.change("DELETE FROM documents WHERE name = ?", ("nothing",))
        except CatalogUnavailable:
            refused += 1
    assert refused == 1, "the connection is given up"
    with pytest.raises(CatalogUnavailable), database.transaction() as transaction:  # noqa: PT012
        transaction.execute("SET TRANSACTION READ ONLY")
        transaction.execute("DELETE FROM documents WHERE name = ?", ("nothing",))
    assert transaction._cursor.connection.closed


def test_no_session_is_opened_on_a_standby(
    catalog: Catalog, make_standby: Callable[[], None], postgres_server: PostgresServer
) -> None:
    """It would tell what it knows as the newest, and lock nobody out."""
    name = database_of(catalog)
    distribution = Distribution("other", "app", NOW, NOW)
    make_standby()
    postgres_server.execute(END_LISTENERS.format(name))
    for call in (lambda: catalog.distributions.put(distribution, actor="test"), catalog.snapshots.refresh,
                 lambda: catalog._lake.read("SELECT count(*) FROM records")):  # fmt: skip
        with pytest.raises(CatalogUnavailable):
            call()
    postgres_server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    catalog.distributions.put(distribution, actor="test")


WRITES = (
    "INSERT INTO lake.schema_versions VALUES (999, now())",
    "CREATE TABLE lake.evil (a INT)",
    "DELETE FROM holdings.entrepot.blobs",
    "CALL postgres_execute('holdings', 'DELETE FROM entrepot.documents')",
    "CALL postgres_execute('__ducklake_metadata_lake', 'DELETE FROM public.ducklake_snapshot')",
    "FROM postgres_query('holdings', 'DELETE FROM entrepot.documents RETURNING 1')",
    "FROM postgres_query('holdings', 'WITH gone AS (DELETE FROM entrepot.documents RETURNING 1) SELECT * FROM gone')",
    "CALL ducklake_expire_snapshots('lake', older_than => now())",
    "CALL ducklake_flush_inlined_data('lake')",
)


@pytest.fixture(scope="module")
def asking(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The connection of a question, as it is before any door is closed and any statement checked."""
    limits = Limits("500MB", 1, 10.0, 100, 10**6, "10MB")
    task = Task(lake_place(catalog.settings), tmp_path_factory.mktemp("task"), Question("SELECT 1"), limits, "json")
    connection = open_for_question(task, None)
    yield connection
    connection.close()


@pytest.mark.parametrize("statement", WRITES)
def test_the_connection_of_a_question_cannot_write(
    asking: duckdb.DuckDBPyConnection, catalog: Catalog, postgres_server: PostgresServer, statement: str
) -> None:
    """Also where the list of statements that may be asked has a hole."""
    assert asking.execute("SELECT count(*) > 0 FROM lake.records").fetchone() == (True,)
    name = database_of(catalog)
    postgres_server.execute("INSERT INTO entrepot.documents VALUES ('kept', 1, '') ON CONFLICT DO NOTHING", name)

    def state() -> list[tuple[object, ...]]:
        return postgres_server.execute(
            "SELECT (SELECT max(snapshot_id) FROM ducklake_snapshot), (SELECT count(*) FROM ducklake_snapshot), "
            "(SELECT count(*) FROM entrepot.documents), (SELECT count(*) FROM entrepot.blobs)",
            name,
        )

    before = state()
    with pytest.raises(duckdb.Error):
        asking.execute(statement).fetchall()
    assert state() == before


def test_the_server_refuses_what_a_question_writes(asking: duckdb.DuckDBPyConnection) -> None:
    """Whatever DuckDB lets through, and in whatever transaction."""
    for place in ("holdings", "__ducklake_metadata_lake"):
        for setting in ("transaction_read_only", "default_transaction_read_only"):
            asked = asking.execute(f"FROM postgres_query('{place}', 'SELECT current_setting(''{setting}'')')")
            assert asked.fetchone() == ("on",)
