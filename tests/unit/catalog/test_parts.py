"""Parts of the catalogue that are made, and records that are read, when they are first used."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import LazyPart, open_catalog
from catalog.distributions.records import Distribution
from catalog.quotas.quotas import Quota
from catalog.settings import read_settings
from oci.errors import QuotaExceeded
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
