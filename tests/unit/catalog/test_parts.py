"""Parts of the catalogue that are made, and records that are read, when they are first used."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog, LazyPart, open_catalog
from catalog.distributions.records import Distribution
from catalog.quotas.quotas import Quota
from catalog.settings import read_settings
from oci.errors import CatalogUnavailable, QuotaExceeded
from tests.homes import new_home
from tests.unit.catalog.conftest import push_image

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_part_is_made_once_for_all_threads(tmp_path: Path) -> None:
    ready = threading.Barrier(8)
    with open_catalog(read_settings(home=new_home(tmp_path / "home"))) as catalog, ThreadPoolExecutor(8) as threads:

        def commits() -> object:
            ready.wait()
            return catalog.commits

        made = [one.result() for one in [threads.submit(commits) for _ in range(8)]]
        assert {id(one) for one in made} == {id(catalog.commits)}


def test_a_server_makes_all_parts_at_its_start(tmp_path: Path) -> None:
    with open_catalog(read_settings(home=new_home(tmp_path / "home"))) as catalog:
        parts = {name for name, one in vars(type(catalog)).items() if isinstance(one, LazyPart)}
        assert parts & vars(catalog).keys() == set()
        catalog.make_all()
        assert parts - vars(catalog).keys() == set()
        assert {"_by_path", "_caches", "_immutable", "_serving"} <= vars(catalog.distributions).keys()


def test_opening_reads_no_records_and_a_command_reads_those_that_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_home(tmp_path / "home")
    with open_catalog(read_settings(home=home)) as catalog:
        push_image(catalog, "team/app", "1.0", "a")
    with open_catalog(read_settings(home=home)) as catalog:
        asked = _questions_of(catalog._lake.read, monkeypatch, catalog._lake)
        assert list(catalog.snapshots.get("team/app").tags) == ["1.0"]
        assert [sql for sql in asked if "FROM distributions" in sql or "FROM remotes" in sql or "quotas" in sql] == []
        assert [one.path for one in catalog.distributions.all()] == ["team/app"]
        assert len([sql for sql in asked if "FROM distributions" in sql]) == 1


def _questions_of(read: Callable[..., object], monkeypatch: pytest.MonkeyPatch, lake: object) -> list[str]:
    asked: list[str] = []

    def noted(sql: str, parameters: object = ()) -> object:
        asked.append(sql)
        return read(sql, parameters)

    monkeypatch.setattr(lake, "read", noted)
    return asked


def test_the_first_commit_of_a_process_keeps_to_quotas_that_it_has_not_read_yet(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    with open_catalog(read_settings(home=home)) as catalog:
        push_image(catalog, "team/app", "1.0", "a")
        catalog.quotas.put(Quota("team/**", max_tags=1), actor="admin")
    with open_catalog(read_settings(home=home)) as catalog, pytest.raises(QuotaExceeded):
        push_image(catalog, "team/app", "1.1", "b")


def test_a_write_that_is_undone_leaves_no_record_in_memory(tmp_path: Path) -> None:
    """Within the write, somebody looks at records that were not read before: what the write has made is not there."""
    home = new_home(tmp_path / "home")
    with open_catalog(read_settings(home=home)) as catalog:

        class UndoneError(Exception):
            """What ends the write."""

        def look(*_: object, **__: object) -> None:
            assert catalog.distributions.find("team/app") is None
            raise UndoneError

        made = Distribution("team/app", "", NOW, NOW, private=False, remote="registry.example", fresh_seconds=3600)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("catalog.lake.writer.Writer.describe", look)
            with pytest.raises(UndoneError):
                catalog.distributions.put(made, actor="admin")
        assert catalog.distributions.all() == []


def test_a_path_that_is_opened_while_all_are_read_again_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before is older: it must not take the place of what memory has learned since."""
    with open_catalog(read_settings(home=new_home(tmp_path / "home"))) as catalog:
        catalog.make_all()
        read, opening = catalog._lake.read, list[threading.Thread]()
        made = Distribution("team/app", "team/app", NOW, NOW, private=False)

        def slow(sql: str, parameters: object = ()) -> object:
            rows = read(sql, parameters)  # type: ignore[arg-type]
            opening.append(threading.Thread(target=catalog.distributions.open, args=([made],)))
            opening[0].start()
            opening[0].join(0.3)  # it may have to wait for who reads
            return rows

        monkeypatch.setattr(catalog._lake, "read", slow)
        catalog.distributions.reload()
        opening[0].join()
        assert catalog.distributions.find("team/app") == made


def _after_each_write(catalog: Catalog, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Have something happen after a write's end, before memory knows of it; once."""
    write, acts = catalog._lake.write, [act]

    @contextmanager
    def followed() -> Iterator[object]:
        with write() as writer:
            yield writer
        while acts:
            acts.pop()()

    patch.setattr(catalog._lake, "write", followed)


def test_a_path_that_another_process_has_made_private_since_is_private_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(home=new_home(tmp_path / "home"))
    with open_catalog(settings) as here, open_catalog(settings) as there:
        push_image(here, "team/app", "1.0", "a")
        path = here.distributions.get("team/app")

        def close() -> None:
            there.snapshots.refresh()
            there.distributions.put(replace(path, private=True), actor="admin")
            here.snapshots.refresh()

        _after_each_write(here, close, monkeypatch)
        here.distributions.put(replace(path, private=False), actor="admin")
        assert here.distributions.get("team/app").private


def test_a_path_of_a_repository_that_another_process_has_deleted_since_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(home=new_home(tmp_path / "home"))
    with open_catalog(settings) as here, open_catalog(settings) as there:
        here.make_all()

        def delete() -> None:
            there.snapshots.refresh()
            there.deletion.delete_repository("team/app", actor="admin", now=NOW)
            here.snapshots.refresh()

        _after_each_write(here, delete, monkeypatch)
        push_image(here, "team/app", "1.0", "a")
        assert here.distributions.find("team/app") is None
        assert not here.snapshots.has("team/app")
        push_image(here, "team/app", "2.0", "b")
        there.snapshots.refresh()
        assert there.distributions.find("team/app") is not None


def test_a_reader_does_not_wait_for_ever_for_a_writer_of_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer may wait for what the reader holds."""
    monkeypatch.setattr("catalog.lake.connection._PATIENCE", 0.1)
    with open_catalog(read_settings(home=new_home(tmp_path / "home"))) as catalog:
        begun, ended = threading.Event(), threading.Event()

        def hold() -> None:
            with catalog._lake.write():
                begun.set()
                ended.wait(60)

        writer = threading.Thread(target=hold)
        writer.start()
        assert begun.wait(60)
        with pytest.raises(CatalogUnavailable, match="did not end"):
            catalog._lake.read("SELECT * FROM of_a_schema_that_is_not_here_yet")
        ended.set()
        writer.join()


def test_what_is_dropped_from_memory_makes_room(tmp_path: Path) -> None:
    with open_catalog(read_settings(home=new_home(tmp_path / "home"))) as catalog:
        push_image(catalog, "team/app", "1.0", "a")
        assert catalog.snapshots._held > 0
        catalog.deletion.delete_repository("team/app", actor="admin", now=NOW)
        assert catalog.snapshots._held == 0
