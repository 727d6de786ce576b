"""How many connections a process has, however many of its threads read."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.catalog import open_catalog
from catalog.lake.metadata.attachment import CONNECTIONS
from catalog.settings import read_settings
from tests.homes import new_home
from tests.postgresql import PostgresServer


def test_threads_that_read_wait_for_the_connections_of_duckdb(
    postgres_server: PostgresServer, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = postgres.rpartition("/")[2]
    sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'entrepot duckdb'"
    with open_catalog(read_settings(home=new_home(tmp_path_factory.mktemp("home") / "entrepot"))) as catalog:

        def read(_: int) -> object:
            return catalog._lake.read("SELECT sum(range % 7) FROM schema_versions, range(200000)")

        with ThreadPoolExecutor(32) as threads:
            reading = [threads.submit(read, number) for number in range(64)]
            counts = []
            while not all(one.done() for one in reading):
                counts.append(int(str(postgres_server.execute(sql)[0][0])))
            for one in reading:
                one.result()
    assert 4 < max(counts) <= CONNECTIONS
