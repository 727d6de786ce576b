"""Garbage collection frees what nothing holds, and nothing else."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.changes import AddManifest, RemoveManifest
from catalog.holdings import Held
from catalog.settings import read_settings
from catalog.snapshot import Snapshot
from catalog.target import RepositoryTarget
from oci.digest import Digest
from oci.errors import BlobUnknown
from tests.unit.catalog.conftest import commit_to, push_image, stage_image

DAY = 86400.0


@pytest.fixture
def now() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def timed(home: Path, now: list[float]) -> Iterator[Catalog]:
    with Catalog(read_settings(home=home), clock=lambda: now[0]) as catalog:
        yield catalog


def test_what_a_version_holds_stays_also_when_it_is_not_the_latest(timed: Catalog, now: list[float]) -> None:
    push_image(timed, "team/app", "a", "one", ("old",))
    digest = timed.snapshot("team/app").tags["a"]
    commit_to(timed, "team/app", RemoveManifest(digest))
    now[0] += 10 * DAY
    report = timed.sweep(grace=DAY)
    assert (report.freed, report.held) == ([], 3)
    assert timed.content.read(Digest.of(b"old")) == b"old"


def test_what_nothing_holds_goes_after_the_grace_period(timed: Catalog, now: list[float], home: Path) -> None:
    push_image(timed, "team/app", "a", "one")
    loose = b"an upload that no manifest came for"
    timed.content.put(loose, Digest.of(loose), "team/app")
    assert timed.sweep(grace=DAY).leased >= 1
    now[0] += 2 * DAY
    planned = timed.sweep(grace=DAY, dry_run=True)
    assert [blob.digest for blob in planned.freed] == [Digest.of(loose)]
    assert timed.content.size(Digest.of(loose)) == len(loose)
    report = timed.sweep(grace=DAY)
    assert report.freed == planned.freed
    assert report.freed_bytes == len(loose)
    with pytest.raises(BlobUnknown):
        timed.content.read(Digest.of(loose))
    assert not timed.content.linked("team/app", Digest.of(loose))
    assert not list((home / "blobs").rglob(Digest.of(loose).encoded))
    assert timed.sweep(grace=DAY).freed == []


def test_a_blob_freed_can_be_uploaded_again(timed: Catalog, now: list[float]) -> None:
    loose = b"comes back"
    for _ in range(2):
        timed.content.put(loose, Digest.of(loose), "team/app")
        now[0] += 2 * DAY
        assert timed.sweep(grace=DAY).freed_bytes == len(loose)
    timed.content.put(loose, Digest.of(loose), "team/app")
    assert timed.content.read(Digest.of(loose)) == loose


def test_a_young_lease_protects_also_a_mount_of_an_old_blob(timed: Catalog, now: list[float]) -> None:
    loose = b"old, but mounted just now"
    timed.content.put(loose, Digest.of(loose), "team/app")
    now[0] += 2 * DAY
    timed.content.link("team/new", Digest.of(loose))
    assert timed.sweep(grace=DAY).freed == []
    assert timed.content.linked("team/new", Digest.of(loose))


def test_a_staged_manifest_whose_blob_was_freed_is_not_taken_for_whole(timed: Catalog, now: list[float]) -> None:
    descriptor = stage_image(timed, "team/app", "one", ("layer",))
    target = RepositoryTarget(timed, Snapshot("team/app", 0))
    assert asyncio.run(target.has(descriptor))
    now[0] += DAY
    assert asyncio.run(target.has(descriptor))  # and the leases of all its parts are young again
    now[0] += DAY / 2
    assert timed.sweep(grace=DAY).freed == []
    assert timed._holdings.give_up([Held(Digest.of(b"layer"), 5)], since=now[0] + 1)
    assert not asyncio.run(target.has(descriptor))


def test_a_commit_that_comes_between_saves_its_blobs(
    timed: Catalog, now: list[float], open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor = stage_image(timed, "team/app", "one")
    now[0] += 2 * DAY
    sweeper, other = timed._sweeper, open_again()
    first_look = sweeper._without_version

    def commit_in_between(batch: object, *repository: str) -> object:
        loose = first_look(batch, *repository)  # type: ignore[arg-type]
        if not other.repository_names():
            commit_to(other, "team/app", AddManifest(descriptor))
        return loose

    monkeypatch.setattr(sweeper, "_without_version", commit_in_between)
    assert timed.sweep(grace=DAY).freed == []
    assert other.content.read(descriptor.digest)
