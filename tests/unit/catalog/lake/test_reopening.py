"""DuckDB that has failed for good is opened anew: whoever asks next is answered, and whoever wrote is told to try again."""

import threading
from typing import Any, NoReturn, cast

import duckdb
import pytest

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.lake.writer import Writer
from oci.errors import CatalogUnusable
from tests.unit.catalog.conftest import push_image


class _Invalid:
    """A cursor of an instance that is of no more use."""

    def execute(self, *_: Any) -> NoReturn:
        raise duckdb.FatalException("database has been invalidated because of a previous fatal error")

    def close(self) -> None:
        """Do nothing."""


def invalidate(lake: Lake) -> duckdb.DuckDBPyConnection:
    """Have this thread's cursor fail as one does after a fatal error; return the instance."""
    lake.cursor()
    lake._cursors._seat.cursor = cast("duckdb.DuckDBPyConnection", _Invalid())
    return lake._root


def test_questions_go_on_after_a_fatal_error(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    lake = catalog._lake
    dead = invalidate(lake)
    assert [row.name for row in catalog.history.repositories()] == ["team/app"]
    assert lake._root is not dead
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(catalog.history.repositories())))
    thread.start()
    thread.join()
    assert found == [1]
    living = lake._root
    assert push_image(catalog, "team/app", "b", "two").version == 2
    assert lake._root is living


def test_a_write_that_fails_for_good_is_refused_and_the_next_one_succeeds(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    lake = catalog._lake
    dead = lake._root

    def fail(writer: Writer) -> None:
        invalidate(lake)
        writer.execute("SELECT 1")

    with pytest.raises(CatalogUnusable, match="cannot write the catalogue"), lake.write() as writer:
        fail(writer)
    assert lake._root is not dead
    assert push_image(catalog, "team/app", "b", "two").version == 2


def test_threads_that_meet_the_same_failure_open_one_instance(catalog: Catalog) -> None:
    lake, seen, barrier = catalog._lake, list[duckdb.DuckDBPyConnection | None](), threading.Barrier(4)

    def ask() -> None:
        invalidate(lake)
        barrier.wait()
        lake.read("SELECT 1")
        seen.append(lake._cursors.root)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one is lake._root for one in seen] == [True] * 4
