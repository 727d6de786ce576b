"""Garbage collection frees what nothing holds, and nothing else."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.blobs.index import BlobRecord
from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositoryTarget
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, RemoveManifest
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import BlobUnknown
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, push_image, stage_image

pytestmark = pytest.mark.usefixtures("holdings")
DAY = 86400.0


@pytest.fixture
def now() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def timed(home: Path, now: list[float]) -> Iterator[Catalog]:
    with Catalog(read_settings(home=new_home(home)), clock=lambda: now[0]) as catalog:
        yield catalog


def test_what_a_version_holds_stays_also_when_it_is_not_the_latest(timed: Catalog, now: list[float]) -> None:
    push_image(timed, "team/app", "a", "one", ("old",))
    digest = timed.snapshots.get("team/app").tags["a"]
    commit_to(timed, "team/app", RemoveManifest(digest))
    now[0] += 10 * DAY
    report = timed.maintenance.sweep(grace=DAY)
    assert (report.freed, report.held) == ([], 3)
    assert timed.content.read(Digest.of(b"old")) == b"old"


def test_what_nothing_holds_goes_after_the_grace_period(timed: Catalog, now: list[float], home: Path) -> None:
    push_image(timed, "team/app", "a", "one")
    loose = b"an upload that no manifest came for"
    timed.content.put(loose, Digest.of(loose), "team/app")
    assert timed.maintenance.sweep(grace=DAY).leased >= 1
    now[0] += 2 * DAY
    planned = timed.maintenance.sweep(grace=DAY, dry_run=True)
    assert [blob.digest for blob in planned.freed] == [Digest.of(loose)]
    assert timed.content.size(Digest.of(loose)) == len(loose)
    report = timed.maintenance.sweep(grace=DAY)
    assert report.freed == planned.freed
    assert report.freed_bytes == len(loose)
    with pytest.raises(BlobUnknown):
        timed.content.read(Digest.of(loose))
    assert not timed.content.linked("team/app", Digest.of(loose))
    assert not list((home / "blobs").rglob(Digest.of(loose).encoded))
    assert timed.maintenance.sweep(grace=DAY).freed == []


def test_a_blob_freed_can_be_uploaded_again(timed: Catalog, now: list[float]) -> None:
    loose = b"comes back"
    for _ in range(2):
        timed.content.put(loose, Digest.of(loose), "team/app")
        now[0] += 2 * DAY
        assert timed.maintenance.sweep(grace=DAY).freed_bytes == len(loose)
    timed.content.put(loose, Digest.of(loose), "team/app")
    assert timed.content.read(Digest.of(loose)) == loose


def test_a_young_lease_protects_also_a_mount_of_an_old_blob(timed: Catalog, now: list[float]) -> None:
    loose = b"old, but mounted just now"
    timed.content.put(loose, Digest.of(loose), "team/app")
    now[0] += 2 * DAY
    timed.content.link("team/new", Digest.of(loose))
    assert timed.maintenance.sweep(grace=DAY).freed == []
    assert timed.content.linked("team/new", Digest.of(loose))


def test_a_staged_manifest_whose_blob_was_freed_is_not_taken_for_whole(timed: Catalog, now: list[float]) -> None:
    descriptor = stage_image(timed, "team/app", "one", ("layer",))
    target = RepositoryTarget(timed, Snapshot("team/app", 0))
    assert asyncio.run(target.has(descriptor))
    now[0] += DAY
    assert asyncio.run(target.has(descriptor))  # and the leases of all its parts are young again
    now[0] += DAY / 2
    assert timed.maintenance.sweep(grace=DAY).freed == []
    assert timed._blob_index.give_up([BlobRecord(Digest.of(b"layer"), 5)], since=now[0] + 1)
    assert not asyncio.run(target.has(descriptor))


def test_a_commit_that_comes_between_saves_its_blobs(
    timed: Catalog, now: list[float], open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = stage_image(timed, "team/app", "one")
    now[0] += 2 * DAY
    sweeper, other = timed.maintenance._sweeper, open_again()
    first_look = sweeper._without_version

    def commit_in_between(batch: object, *repository: str) -> object:
        loose = first_look(batch, *repository)  # type: ignore[arg-type]
        if not other.snapshots.names():
            commit_to(other, "team/app", AddManifest(descriptor))
        return loose

    monkeypatch.setattr(sweeper, "_without_version", commit_in_between)
    assert timed.maintenance.sweep(grace=DAY).freed == []
    assert other.content.read(descriptor.digest)


def test_what_was_vouched_for_is_not_looked_at_again_until_versions_are_deleted(
    timed: Catalog, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(timed, "team/app", "a", "one")
    push_image(timed, "team/app", "a", "two")
    sweeper, looked = timed.maintenance._sweeper, list[int]()
    look = sweeper._without_version

    def counted(batch: list[BlobRecord], *repository: str) -> list[BlobRecord]:
        looked.append(len(batch))
        return look(batch, *repository)

    monkeypatch.setattr(sweeper, "_without_version", counted)
    now[0] += 2 * DAY
    timed.maintenance.sweep(grace=DAY)
    assert looked == [6]
    timed.maintenance.sweep(grace=DAY)
    assert looked == [6]  # nothing is new
    push_image(timed, "team/app", "a", "three")
    now[0] += 2 * DAY
    timed.maintenance.sweep(grace=DAY)
    assert looked == [6, 3]
    timed.deletion.delete_versions("team/app", [range(1, 2)], actor="test", now=datetime.now(UTC))
    timed.maintenance.sweep(grace=DAY)
    assert looked == [6, 3, 9]
    first = Digest(timed.snapshots.get("team/app").tags["a"])
    commit_to(timed, "team/app", RemoveManifest(first), operation_id="remove")
    timed.deletion.delete_versions("team/app", [range(2, 4)], actor="test", now=datetime.now(UTC))
    planned = timed.maintenance.sweep(grace=DAY, dry_run=True)
    freed = timed.maintenance.sweep(grace=DAY)
    assert freed.freed_blobs == planned.freed_blobs > 0
    assert (freed.freed, freed.freed_bytes) == (planned.freed, planned.freed_bytes)
    assert timed.maintenance.absent() == []


def test_a_sweep_whose_time_is_up_goes_on_with_the_next(
    timed: Catalog, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.maintenance.garbage_collection._BATCH", 3)
    for number in range(8):
        loose = str(number).encode()
        timed.content.put(loose, Digest.of(loose), "team/app")
    now[0] += 2 * DAY
    first = timed.maintenance.sweep(grace=DAY, is_late=lambda: True)
    assert (first.finished, first.freed_blobs) == (False, 3)
    second = timed.maintenance.sweep(grace=DAY)
    assert (second.finished, second.freed_blobs) == (True, 5)


def test_bytes_that_a_killed_sweep_left_go_with_the_next_and_not_what_came_again(
    timed: Catalog, now: list[float], home: Path
) -> None:
    data = {name: name.encode() for name in ("goes", "comes again")}
    for loose in data.values():
        timed.content.put(loose, Digest.of(loose), "team/app")
    given_up = timed._blob_index.give_up(
        [BlobRecord(Digest.of(one), len(one)) for one in data.values()], since=now[0] + 1
    )
    assert len(given_up) == 2  # and here the sweep is killed: no byte is removed yet
    timed.content.put(data["comes again"], Digest.of(data["comes again"]), "team/app")
    timed.maintenance.sweep(grace=DAY)
    assert timed.content.read(Digest.of(data["comes again"])) == data["comes again"]
    assert not list((home / "blobs").rglob(Digest.of(data["goes"]).encoded))


def test_why_a_blob_stays_or_goes(timed: Catalog, now: list[float]) -> None:
    push_image(timed, "team/app", "a", "one", ("layer",))
    loose = b"nothing needs it"
    timed.content.put(loose, Digest.of(loose), "team/tools")
    explanation = timed.maintenance.explain(Digest.of(loose), grace=DAY)
    assert not explanation.is_freed
    assert explanation.reasons() == ["leased to team/tools until 1970-01-13T13:46:40Z"]
    now[0] += 2 * DAY
    assert timed.maintenance.explain(Digest.of(loose), grace=DAY).is_freed
    held = timed.maintenance.explain(Digest.of(b"layer"), grace=DAY)
    assert (held.is_freed, held.reasons()) == (False, ["held by version 1- of team/app"])
    assert held.impacts[0].tags == ("a",)
    assert timed.maintenance.explain(Digest.of(b"unknown"), grace=DAY).reasons() == ["not held here"]
