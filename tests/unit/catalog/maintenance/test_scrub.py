"""Scrubbing finds what is flipped, cut short or missing, over a local folder and a real bucket, and never serves it again."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.blobs.scrub_records import DueBlob, Fault
from catalog.catalog import Catalog
from catalog.lake.snapshot_log import judge_since
from catalog.maintenance.impact import spans_of
from catalog.maintenance.scrub import Damage, Pace
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import BlobUnknown, StorageCorrupt
from tests.homes import new_home
from tests.servers import S3Server
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.usefixtures("holdings")
DAY = 86400.0
LAYERS = ("first layer", "second layer", "third layer", "last layer")


@pytest.fixture(params=["local", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder that the store's files are in."""
    if request.param == "local":
        return tmp_path / "entrepot" / "blobs"
    s3: S3Server = request.getfixturevalue("s3")
    return s3.folder / "registry"


@pytest.fixture
def now() -> list[float]:
    return [1_000_000.0]


@pytest.fixture
def timed(blobs: Path, now: list[float], tmp_path: Path) -> Iterator[Catalog]:
    with Catalog(read_settings(home=new_home(tmp_path / "entrepot")), clock=lambda: now[0]) as catalog:
        yield catalog


def pace() -> Pace:
    return Pace(None, monotonic=lambda: 0.0, sleep=lambda _: None)


def read_all(catalog: Catalog, now: float, *, older_than: float = 0.0, at_most: int = 10**6) -> list[Fault]:
    """A pass over the store, or the beginning of one that is broken off."""
    scrubber, faults, last = catalog.maintenance.scrubber, list[Fault](), ""
    before = scrubber.records.begin(now) - older_than
    while due := scrubber.records.next_due(last, before, min(2, at_most)):
        for blob in due:
            damage = scrubber.read(blob, pace())
            if damage is None:
                scrubber.records.note_read([blob], now)
            elif fault := scrubber.set_aside(blob, damage, now):
                faults.append(fault)
            last = blob.digest
        at_most -= len(due)
        if at_most <= 0:
            return faults
    scrubber.records.end()
    return faults


def file_of(blobs: Path, text: str) -> Path:
    encoded = Digest.of(text.encode()).encoded
    return blobs / "sha256" / encoded[:2] / encoded


def test_flipped_short_and_missing_blobs_are_set_aside_and_an_upload_heals_them(
    timed: Catalog, now: list[float], blobs: Path
) -> None:
    push_image(timed, "team/app", "v1", "one", LAYERS)
    assert read_all(timed, now[0] + 1) == []
    flipped, short, missing, whole = (file_of(blobs, text) for text in LAYERS)
    flipped.write_bytes(b"First layer")
    os.truncate(short, 3)
    missing.unlink()
    faults = {fault.digest: fault.reason for fault in read_all(timed, now[0] + 2)}
    digests = [Digest.of(text.encode()) for text in LAYERS]
    assert faults.keys() == set(digests[:3])
    assert "its bytes are those of sha256:" in faults[digests[0]]
    assert not flipped.exists()
    assert (blobs / "quarantine" / "sha256" / flipped.parent.name / flipped.name).read_bytes() == b"First layer"
    assert whole.exists()
    for digest in digests[:3]:
        with pytest.raises(BlobUnknown):
            timed.content.open(digest)
    assert timed.maintenance.scrubber.lost() == sorted(digests[:3]) == timed.maintenance.absent()
    for text, digest in zip(LAYERS, digests, strict=True):
        timed.content.put(text.encode(), digest, "team/app")
        assert timed.content.read(digest) == text.encode()
    assert timed.maintenance.scrubber.lost() == timed.maintenance.absent() == []
    assert read_all(timed, now[0] + 3) == []


def test_a_pass_that_was_broken_off_goes_on_and_what_is_young_is_not_read(
    timed: Catalog, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_image(timed, "team/app", "v1", "one", LAYERS)
    read: list[Digest] = []
    plain = timed.maintenance.scrubber.read

    def noted(blob: DueBlob, pace: Pace) -> Damage | None:
        read.append(blob.digest)
        return plain(blob, pace)

    monkeypatch.setattr(timed.maintenance.scrubber, "read", noted)
    read_all(timed, now[0] + 1, at_most=4)
    assert len(read) == 4
    now[0] += 5
    timed.content.put(b"came later", Digest.of(b"came later"), "team/app")
    read_all(timed, now[0])
    assert len(read) == len(set(read)) == 6  # config, manifest and layers; not what came since, for that was verified
    read_all(timed, now[0] + 40 * DAY, older_than=60 * DAY)
    assert len(read) == 6
    read_all(timed, now[0] + 40 * DAY, older_than=30 * DAY)
    assert len(read) == 13


def test_what_was_healed_or_freed_since_it_was_read_is_left_alone(
    timed: Catalog, now: list[float], blobs: Path
) -> None:
    push_image(timed, "team/app", "v1", "one", LAYERS)
    timed.maintenance.scrubber.records.begin(now[0] + 1)
    due = {one.digest: one for one in timed.maintenance.scrubber.records.next_due("", now[0] + 1, 100)}
    missing = due[Digest.of(b"first layer")]
    file_of(blobs, "first layer").unlink()
    damage = timed.maintenance.scrubber.read(missing, pace())
    timed.content.put(b"first layer", missing.digest, "team/app")  # held by the record: only the bytes come back
    session = timed.uploads.begin("team/app")
    session.write(b"first layer")
    session.finish(missing.digest)
    assert damage is not None
    assert timed.maintenance.scrubber.set_aside(missing, damage, now[0]) is None
    assert timed.content.read(missing.digest) == b"first layer"


def test_other_bytes_that_were_replaced_since_they_were_read_are_left_alone(
    timed: Catalog, now: list[float], blobs: Path
) -> None:
    push_image(timed, "team/app", "v1", "one", LAYERS)
    due = {one.digest: one for one in timed.maintenance.scrubber.records.next_due("", now[0] + 1, 100)}
    flipped = due[Digest.of(b"first layer")]
    file_of(blobs, "first layer").write_bytes(b"First layer")
    os.utime(file_of(blobs, "first layer"), (now[0], now[0]))  # a bucket tells times in seconds
    damage = timed.maintenance.scrubber.read(flipped, pace())
    assert damage is not None
    assert damage.has_other_bytes
    with timed.uploads.begin("team/other") as session:
        session.write(b"first layer")
        session.finish(flipped.digest)
    assert timed.maintenance.scrubber.set_aside(flipped, damage, now[0]) is None
    assert timed.content.read(flipped.digest) == b"first layer"


def test_a_damaged_manifest_is_not_kept_in_memory(
    timed: Catalog, now: list[float], blobs: Path, tmp_path: Path
) -> None:
    digest = push_image(timed, "team/app", "v1", "one").snapshot.tags["v1"]
    file = blobs / "sha256" / digest.encoded[:2] / digest.encoded
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"2", b"3", 1))
    with Catalog(read_settings(home=tmp_path / "entrepot")) as other:
        with pytest.raises(StorageCorrupt):
            other.manifests.raw(digest)
        assert [fault.digest for fault in read_all(timed, now[0] + 1)] == [digest]
        timed.content.put(raw, digest, "team/app")
        assert other.manifests.raw(digest) == raw


def test_who_is_hit_is_named_with_versions_tags_and_paths(timed: Catalog) -> None:
    push_image(timed, "team/app", "v1", "one", ("shared",))
    push_image(timed, "team/app", "v2", "two", ("own",))
    push_image(timed, "other/app", "latest", "three", ("shared",))
    impacts = {impact.repository: impact for impact in timed.maintenance.impacts([Digest.of(b"shared")])}
    assert (impacts["other/app"].versions, impacts["other/app"].tags, impacts["other/app"].paths) == (
        "1-", ("latest",), ("other/app",),
    )  # fmt: skip
    own = timed.maintenance.impacts([Digest.of(b"own")])[0]
    assert (own.versions, own.tags) == ("2-", ("v2",))


def test_files_that_nobody_knows_are_reported_and_removed_after_the_grace(
    timed: Catalog, now: list[float], blobs: Path
) -> None:
    push_image(timed, "team/app", "v1", "one")
    orphan, other = file_of(blobs, "orphan"), blobs / "README"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"orphan")
    other.write_bytes(b"somebody's")
    now[0] = orphan.stat().st_mtime + 10
    found = timed.maintenance.unknown_files(grace=DAY, remove=True)
    assert (found.files, found.removed) == (2, 0)
    now[0] += 2 * DAY
    assert timed.maintenance.unknown_files(grace=DAY, remove=False).removed == 0
    found = timed.maintenance.unknown_files(grace=DAY, remove=True)
    assert (found.files, found.removed, found.removed_bytes) == (2, 1, 6)
    assert not orphan.exists()
    assert other.exists()
    assert timed.snapshots.get("team/app").blobs.keys() == set(timed.snapshots.get("team/app").blobs) - set(
        timed.maintenance.absent()
    )


def test_reading_keeps_to_the_rate() -> None:
    slept: list[float] = []
    limited = Pace(1000, monotonic=lambda: sum(slept), sleep=slept.append)
    for _ in range(10):
        limited.spend(500)
    assert sum(slept) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("changes", "spans"),
    [
        ([(1, "add")], ((1, None),)),
        ([(1, "add"), (4, "remove")], ((1, 3),)),
        ([(1, "add"), (4, "remove"), (6, "add")], ((1, 3), (6, None))),
        ([(2, "add"), (3, "add"), (5, "remove")], ((2, 4),)),
    ],
)
def test_spans(changes: list[tuple[int, str]], spans: tuple[tuple[int, int | None], ...]) -> None:
    assert spans_of(changes) == spans


@pytest.mark.parametrize(
    ("rows", "removed", "repositories"),
    [
        ([(6, "inlined_insert:9", '{"versions": {"a": 1}}'), (7, "inlined_insert:12", "")], 0, {"a"}),
        ([(6, "inlined_insert:9", '{"versions": {}}')], 0, None),
        ([(6, "inlined_delete:9", "")], 6, set()),
        ([(6, "deleted_from_table:12", ""), (7, "inline_flush:9,inline_flush:12", "")], 0, set()),
        ([(7, "inlined_insert:9", '{"versions": {"a": 1}}')], 7, None),
        ([(6, "something_new:9", "")], 6, set()),
    ],
)
def test_the_record_of_the_lake(rows: list[tuple[int, str, str]], removed: int, repositories: set[str] | None) -> None:
    found = judge_since(rows, 5, "9")
    assert (found.position, found.removed, found.repositories) == (rows[-1][0], removed, repositories)
