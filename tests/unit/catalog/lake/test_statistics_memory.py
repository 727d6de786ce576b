"""What DuckLake remembers of former snapshots is given back: it would grow until DuckDB's memory is used up."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.catalog import Catalog
from catalog.lake import connection, duckdb_instance
from catalog.lake.duckdb_instance import remembered
from tests.unit.catalog.conftest import push_image


def read_much(catalog: Catalog, tag: str = "t") -> int:
    """Read some snapshots; return how many bytes DuckDB remembers of them."""
    lake = catalog._lake
    for number in range(5):
        push_image(catalog, "team/app", f"{tag}{number}", f"text {tag}{number}")
        lake.read("SELECT count(*) FROM versions WHERE repository = 'none'")
    return remembered(lake.read)


def test_each_snapshot_that_is_read_is_remembered_until_it_is_given_back(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = read_much(catalog), read_much(catalog, "u")
    assert second > first > 0
    lake, former = catalog._lake, catalog._lake._root
    assert catalog.give_back_memory() is False
    monkeypatch.setattr(duckdb_instance, "MOST_REMEMBERED", first)
    assert catalog.give_back_memory() is True
    assert lake._root is not former
    assert [row.name for row in catalog.history.repositories()] == ["team/app"]
    assert push_image(catalog, "team/app", "last", "last").version == 11
    assert remembered(lake.read) < second


def test_a_write_under_way_keeps_its_instance_and_is_waited_for(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_much(catalog)
    monkeypatch.setattr(duckdb_instance, "MOST_REMEMBERED", 0)
    lake, former = catalog._lake, catalog._lake._root
    done: list[bool] = []

    def give_back() -> None:
        done.append(catalog.give_back_memory())

    with lake.write() as writer:
        writer.begin()
        monkeypatch.setattr(connection, "_PATIENCE", 0.01)
        in_vain = threading.Thread(target=give_back)
        in_vain.start()
        in_vain.join()
        assert (done, lake._root) == ([False], former)
        monkeypatch.setattr(connection, "_PATIENCE", 60.0)
        waits = threading.Thread(target=give_back)
        waits.start()
    waits.join()
    assert done == [False, True]
    assert lake._root is not former


def test_threads_that_are_idle_keep_no_former_instance(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    read_much(catalog)
    monkeypatch.setattr(duckdb_instance, "MOST_REMEMBERED", 0)
    lake = catalog._lake
    with ThreadPoolExecutor(1) as idle, ThreadPoolExecutor(1) as busy:
        idle.submit(lake.read, "SELECT 1").result()
        reads, may_end = threading.Event(), threading.Event()

        def read_slowly() -> list[tuple[int]]:
            with lake.using() as cursor:
                reads.set()
                assert may_end.wait(30)
                return cursor.execute("SELECT 2").fetchall()

        slow = busy.submit(read_slowly)
        assert reads.wait(30)
        former = weakref.ref(lake._root)
        assert catalog.give_back_memory() is True
        assert former() is not None  # the busy thread reads from it
        may_end.set()
        assert slow.result() == [(2,)]
        read_much(catalog, "u")
        assert catalog.give_back_memory() is True
        assert former() is None
        assert idle.submit(lake.read, "SELECT 3").result() == [(3,)]
