"""A commit made by another process shows at the next look; a writer that dies in its commit stops nobody."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog import catalog as catalog_module
from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.lake.writer import Writer
from catalog.versions.change_feed import ChangeFeed, CommittedChanges
from catalog.versions.changes import AddManifest, RemoveTag, SetTag
from oci.errors import CatalogUnusable, EntrepotError
from tests.crash.direct_commits import sqlite_of
from tests.unit.catalog.conftest import commit_to, push_image, stage_image


def test_own_commits_stay_in_memory_and_cost_no_query(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    push_image(catalog, "team/app", "a", "one")
    result = push_image(catalog, "team/app", "b", "two")

    def no_query(*_: object) -> list[tuple[object, ...]]:
        raise AssertionError("a query was made")

    monkeypatch.setattr(catalog._lake, "read", no_query)
    assert catalog.serving.cached("team/app") is result.snapshot
    assert catalog.snapshots.get("team/app") is result.snapshot
    assert catalog.snapshots.names() == ("team/app",)


def test_another_process_is_seen_at_the_next_look(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    push_image(other, "team/app", "a", "one")
    assert catalog.serving.cached("team/app") is None
    first = catalog.snapshots.find("team/app")
    assert first is not None
    assert catalog.serving.cached("team/app") is first
    second = push_image(other, "team/app", "a", "two").snapshot
    push_image(other, "team/new", "a", "one")
    assert catalog.serving.cached("team/app") is None
    assert catalog.snapshots.find("team/app") == second
    assert catalog.snapshots.names() == ("team/app", "team/new")


def test_paths_of_new_repositories_come_with_the_news_and_cost_no_question(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_again()
    catalog.distributions.ensure_read()
    reloads: list[int] = []
    monkeypatch.setattr(catalog.distributions, "reload", lambda: reloads.append(1))
    for serve in ("public", "private", "nobody"):
        name = f"team/{serve}"
        descriptor = stage_image(other, name, name)
        commit_to(other, name, AddManifest(descriptor), SetTag("a", descriptor.digest), serve=serve)
    assert catalog.snapshots.names() == ("team/nobody", "team/private", "team/public")
    assert reloads == []
    told, read = catalog.distributions, open_again().distributions
    assert [one.path for one in told.all()] == ["team/private", "team/public"]
    for path in ("team/public", "team/private"):
        assert told.get(path) == read.get(path) == other.distributions.get(path)
        assert told.serving(path) == [told.get(path)]


@pytest.mark.parametrize("part", ["Quotas", "Snapshots"])
def test_what_others_commit_while_a_catalogue_is_opened_is_known(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    made = getattr(catalog_module, part)

    def make_late(*some: Any, **more: Any) -> Any:
        push_image(catalog, "team/app", "a", "one")
        return made(*some, **more)

    monkeypatch.setattr(catalog_module, part, make_late)
    opened = open_again()
    assert opened.snapshots.names() == ("team/app",)
    assert opened.distributions.find("team/app") == catalog.distributions.find("team/app")
    assert opened.quotas.totals.of("team/app").tags == 1


def test_paths_that_were_opened_and_then_changed_are_read_anew(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    other = open_again()
    push_image(other, "team/app", "a", "one")
    push_image(other, "team/gone", "a", "one")
    other.distributions.put(replace(other.distributions.get("team/app"), private=True), actor="tester")
    other.distributions.delete("team/gone", actor="tester")
    catalog.snapshots.refresh()
    assert [(one.path, one.private) for one in catalog.distributions.all()] == [("team/app", True)]


def test_the_note_of_a_release_that_does_not_tell_of_paths_has_them_read(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    describe = Writer.describe

    def describe_as_before(*some: Any, opened: object = None, distributions: object = None, **more: Any) -> None:
        assert opened is not None
        assert distributions is not None
        describe(*some, **more)

    monkeypatch.setattr(Writer, "describe", describe_as_before)
    push_image(open_again(), "team/app", "a", "one")
    catalog.snapshots.refresh()
    assert catalog.distributions.find("team/app") is not None


def test_nobody_is_told_of_an_older_version_while_news_are_read(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(catalog, "team/app", "a", "one")
    push_image(open_again(), "team/app", "a", "two")
    feed = catalog.snapshots._feed
    read, meanwhile = feed.read, []

    def read_and_look() -> CommittedChanges:
        changes = read()
        meanwhile.append(catalog.serving.cached("team/app"))
        return changes

    monkeypatch.setattr(feed, "read", read_and_look)
    assert catalog.snapshots.get("team/app").version == 2
    assert meanwhile == [None]


def test_a_snapshot_moved_forward_equals_one_built_anew(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    push_image(other, "team/app", "a", "one", ("shared", "x"))
    catalog.snapshots.get("team/app")
    push_image(other, "team/app", "a", "two", ("shared", "y"))
    commit_to(other, "team/app", RemoveTag("a"))
    push_image(other, "team/app", "b", "three")
    moved = catalog.snapshots.get("team/app")
    assert moved == open_again().snapshots.get("team/app")
    assert moved.size_bytes == catalog.history.version("team/app", 4).size_bytes


def test_more_commits_than_the_record_is_read_for_are_all_seen(
    catalog: Catalog, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.versions.change_feed._AT_MOST", 2)
    other = open_again()
    for number in range(5):
        push_image(other, f"team/app{number}", "a", "one")
    assert len(catalog.snapshots.names()) == 5


def test_a_failed_commit_leaves_no_news(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    push_image(catalog, "team/app", "a", "one")
    other = open_again()
    before = catalog._lake.sequence.value

    def fail(writer: object) -> None:
        raise EntrepotError("broken")

    with pytest.raises(EntrepotError, match="broken"), catalog._lake.write() as writer:
        fail(writer)
    assert catalog._lake.sequence.value == before
    assert other.snapshots.find("team/app") == catalog.snapshots.get("team/app")
    assert other.serving.cached("team/app") is not None


def test_a_write_that_fails_in_the_database_is_undone_and_named(catalog: Catalog) -> None:
    with pytest.raises(CatalogUnusable, match="cannot write the catalogue"), catalog._lake.write() as writer:
        writer.insert("schema_versions", [(99, "not a time")])
    assert catalog._lake.read("SELECT count(*) FROM schema_versions WHERE number = 99") == [(0,)]
    assert push_image(catalog, "team/app", "a", "one").version == 1


DIE_IN_COMMIT = """
import os, sys
from pathlib import Path
from catalog.lake.connection import Lake
lake = Lake(Path(sys.argv[1]), memory="200MB", threads=1, lock_timeout=10)
with lake.write() as writer:
    print("writing", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.embedded
def test_a_writer_that_dies_in_its_commit_stops_nobody(catalog: Catalog) -> None:
    push_image(catalog, "team/app", "a", "one")
    command = [sys.executable, "-c", DIE_IN_COMMIT, str(catalog._lake.file)]
    root = Path(__file__).parents[4]
    now = [1000.0]
    lake = catalog._lake
    feed = ChangeFeed(lake, monotonic=lambda: now[0])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"writing\n"
        assert lake.sequence.value % 2
        assert feed.is_current()  # a commit under way has been told to nobody
        now[0] += 10
        assert feed.is_current()  # its writer holds the lock: it is alive
        process.stdin.write(b"die\n")
        process.stdin.flush()
        process.wait(30)
    assert feed.is_current()
    now[0] += 10
    assert not feed.is_current()  # the lock is free: it has died
    changes = feed.read()
    assert changes.versions == {}
    assert not feed.is_current()
    feed.acknowledge(changes)
    assert lake.sequence.value % 2 == 0
    assert feed.is_current()
    assert catalog.snapshots.get("team/app").version == 1
    assert push_image(catalog, "team/app", "b", "two").version == 2


@pytest.mark.embedded
def test_opening_heals_the_counter(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    sqlite_of(catalog._lake).sequence.begin()
    assert open_again()._lake.sequence.value % 2 == 0


@pytest.mark.embedded
def test_a_catalogue_of_a_newer_release_is_refused(catalog: Catalog, home: Path) -> None:
    with catalog._lake.write() as writer:
        writer.insert("schema_versions", [(99, "2030-01-01")])
    with pytest.raises(CatalogUnusable, match=r"newer release \(schema 99\)"):
        Lake(catalog._lake.file, memory="200MB", threads=1, lock_timeout=1)


def test_a_damaged_bookkeeping_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    file.write_bytes(b"this is not a database" * 100)
    with pytest.raises(CatalogUnusable, match=r"catalog\.sqlite"):
        Lake(file, memory="200MB", threads=1, lock_timeout=1)
