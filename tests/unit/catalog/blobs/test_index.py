"""The record of held blobs does the same on both engines; an older one is taken over, a newer one refused."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.blobs.index import BlobIndex, BlobRecord, Link
from catalog.blobs.ingest_queue import Ingest
from catalog.blobs.local_store import LocalBlobStore
from catalog.blobs.opening import open_index
from catalog.blobs.scrub_records import DueBlob, Fault, ScrubRecords
from catalog.blobs.sweep_records import SweepRecords
from oci.digest import Digest
from oci.errors import CatalogUnusable
from tests.holdings import hold

DIGEST = Digest.of(b"held")
DIGESTS = sorted(Digest.of(b"%d" % number) for number in range(700))


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


def place(store: LocalBlobStore, data: bytes) -> Digest:
    """Lay bytes in their place, as an ingest does before it records them."""
    staged = store.staging / "staged"
    staged.write_bytes(data)
    store.adopt(staged, Digest.of(data))
    return Digest.of(data)


def test_a_record_of_the_first_schema_is_taken_over(tmp_path: Path, store: LocalBlobStore) -> None:
    file = tmp_path / "holdings.sqlite"
    with sqlite3.connect(file) as old:
        old.executescript(
            "CREATE TABLE blobs (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, ingested_at REAL NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE links (repository TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL,"
            " linked_at REAL NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;"
            f"INSERT INTO blobs VALUES ('{DIGEST}', 4, 1.0); PRAGMA user_version = 1;"
        )
    for _ in range(2):
        blob_index = open_index(file)
        assert blob_index.size(DIGEST) == 4
        blob_index.database.close()
    blob_index = open_index(file)
    place(store, b"held")
    assert blob_index.give_up([BlobRecord(DIGEST, 4)], since=2.0) == [BlobRecord(DIGEST, 4)]
    blob_index.remove_left(store)
    assert not store.path(DIGEST).exists()
    blob_index.database.close()


def test_a_newer_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "holdings.sqlite"
    open_index(file).database.close()
    with sqlite3.connect(file) as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(CatalogUnusable, match="newer release"):
        open_index(file)


def test_what_is_taken_in_is_held_leased_and_remembered(open_index_again: Callable[[], BlobIndex]) -> None:
    blob_index = open_index_again()
    here = [
        Ingest(DIGESTS[0], 7, lambda: None, "team/app", "", 1.5, "https://one.example"),
        Ingest(DIGESTS[1], 2**40, lambda: None, "team/app", "a/manifest", 2.5),
        Ingest(DIGESTS[0], 7, lambda: None, "team/other", "", 3.5, "https://two.example"),
        Ingest(DIGESTS[1], 2**40, lambda: None, "team/app", "", 4.5),
    ]
    blob_index.ingest(here, lambda _: None)
    for again in (blob_index, open_index_again()):
        assert again.sizes(DIGESTS) == {DIGESTS[0]: 7, DIGESTS[1]: 2**40}
        assert (again.size(DIGESTS[1]), again.size(DIGESTS[2])) == (2**40, None)
        assert (again.ingested(DIGESTS[0]), again.ingested(DIGESTS[2])) == ((7, 1.5), None)
        assert again.taken_by(DIGESTS[0]) == "team/app"
        assert again.origins(DIGESTS[0]) == {"https://one.example", "https://two.example"}
        assert again.link("team/app", DIGESTS[1]) == Link("team/app", DIGESTS[1], "a/manifest", 4.5)
        assert again.link("team/other", DIGESTS[1]) is None
        assert again.repositories_of(DIGESTS[0]) == {"team/app", "team/other"}
        assert again.linked("team/app") == {DIGESTS[0]: 7, DIGESTS[1]: 2**40}
        assert again.totals() == (2, 2**40 + 7)


def test_what_is_taken_in_again_keeps_its_age_and_who_brought_it(blob_index: BlobIndex) -> None:
    hold(blob_index, [DIGEST], now=1.0)
    blob_index.set_taken_by(DIGEST, "team/public")
    hold(blob_index, [DIGEST], repository="team/other", now=9.0)
    assert blob_index.ingested(DIGEST) == (1, 1.0)
    assert blob_index.taken_by(DIGEST) == "team/public"


def test_only_what_is_held_is_leased(blob_index: BlobIndex) -> None:
    hold(blob_index, [DIGEST])
    assert blob_index.add_link("team/other", DIGEST, media_type="a/manifest", now=5.0)
    assert blob_index.add_link("team/other", DIGEST, media_type="", now=6.0)
    assert blob_index.link("team/other", DIGEST) == Link("team/other", DIGEST, "a/manifest", 6.0)
    assert not blob_index.add_link("team/other", DIGESTS[0], media_type="", now=5.0)
    assert blob_index.link("team/other", DIGESTS[0]) is None
    assert blob_index.links(DIGEST, since=2.0) == [Link("team/other", DIGEST, "a/manifest", 6.0)]
    assert [link.repository for link in blob_index.links(DIGEST)] == ["team/app", "team/other"]
    assert [blob_index.drop_link("team/other", DIGEST) for _ in range(2)] == [True, False]


def test_leases_are_renewed_dropped_granted_and_ended(blob_index: BlobIndex) -> None:
    hold(blob_index, DIGESTS[:4])
    blob_index.renew_links([("team/app", DIGESTS[1])], now=8.0)
    assert [*blob_index.old_links(before=5.0)] == [[("team/app", digest) for digest in (DIGESTS[0], *DIGESTS[2:4])]]
    blob_index.drop_links([("team/app", DIGESTS[0]), ("team/app", DIGESTS[1])], before=5.0)
    blob_index.grant([("team/app", DIGESTS[1]), ("team/app", DIGESTS[0])])
    assert [link and link.linked_at for link in (blob_index.link("team/app", digest) for digest in DIGESTS[:3])] == [
        0, 8.0, 1.0,
    ]  # fmt: skip
    blob_index.end_links("team/app")
    assert blob_index.linked("team/app") == {}


def test_what_is_given_up_is_forgotten_unless_it_was_leased_since(blob_index: BlobIndex) -> None:
    hold(blob_index, DIGESTS)
    assert blob_index.add_link("team/other", DIGESTS[1], media_type="", now=5.0)
    records = [BlobRecord(digest, 1) for digest in (*DIGESTS, DIGEST)]
    kept = blob_index.without_lease(records, since=5.0)
    assert [blob.digest for blob in kept] == [DIGESTS[0], *DIGESTS[2:], DIGEST]
    given_up = blob_index.give_up(records, since=5.0)
    assert {blob.digest for blob in given_up} == {*DIGESTS} - {DIGESTS[1]}
    assert blob_index.sizes(DIGESTS) == {DIGESTS[1]: 1}
    assert blob_index.link("team/app", DIGESTS[0]) is None
    assert blob_index.known([*DIGESTS, DIGEST]) == {*DIGESTS}
    assert blob_index.give_up(given_up, since=5.0) == []


def test_the_bytes_of_what_was_given_up_go_and_those_of_what_came_again_stay(
    blob_index: BlobIndex, store: LocalBlobStore
) -> None:
    gone, again = place(store, b"gone"), place(store, b"again")
    for digest, size in ((gone, 4), (again, 5)):
        blob_index.ingest([Ingest(digest, size, lambda: None, "team/app", "", 1.0)], lambda _: None)
    assert len(blob_index.give_up([BlobRecord(gone, 4), BlobRecord(again, 5)], since=2.0)) == 2
    blob_index.ingest([Ingest(again, 5, lambda: None, "team/app", "", 3.0)], lambda _: None)
    blob_index.remove_left(store)
    assert (store.path(gone).exists(), store.path(again).exists()) == (False, True)
    assert blob_index.known([gone, again]) == {again}


def test_what_came_again_and_whose_bytes_were_removed_all_the_same_is_not_held(
    blob_index: BlobIndex, store: LocalBlobStore
) -> None:
    hold(blob_index, [DIGEST])
    blob_index.give_up([BlobRecord(DIGEST, 1)], since=2.0)
    hold(blob_index, [DIGEST], now=3.0)
    blob_index.remove_left(store)
    assert blob_index.size(DIGEST) is None
    assert ScrubRecords(blob_index).quarantined() == [Fault(DIGEST, 1, "its bytes were removed while it came in")]


def test_unknown_bytes_are_removed_unless_their_blob_is_held(blob_index: BlobIndex) -> None:
    hold(blob_index, [DIGEST])
    removed: list[Digest] = []
    assert not blob_index.remove_unknown(BlobRecord(DIGEST, 1), lambda: removed.append(DIGEST))
    assert blob_index.remove_unknown(BlobRecord(DIGESTS[0], 1), lambda: removed.append(DIGESTS[0]))
    assert removed == [DIGESTS[0]]
    assert blob_index.known([DIGEST, DIGESTS[0]]) == {DIGEST}


def test_marks_are_noted_and_forgotten(blob_index: BlobIndex) -> None:
    assert blob_index.mark("x") is None
    for value in (1.5, 2.5, None):
        blob_index.set_mark("x", value)
        assert blob_index.mark("x") == value


def test_what_a_version_held_is_no_candidate_until_rows_were_removed(blob_index: BlobIndex) -> None:
    hold(blob_index, DIGESTS[:5])
    records = SweepRecords(blob_index)
    records.vouch([DIGESTS[3], DIGESTS[1]], 7)
    loose = [BlobRecord(digest, 1) for digest in (DIGESTS[0], DIGESTS[2], DIGESTS[4])]
    assert [*records.candidates(7, 2)] == [loose[:2], loose[2:]]
    assert [len(batch) for batch in records.candidates(8, 10)] == [5]
    records.forget()
    assert [len(batch) for batch in records.candidates(0, 10)] == [5]


def test_of_two_sweeps_the_one_that_has_read_further_counts(blob_index: BlobIndex) -> None:
    records = SweepRecords(blob_index)
    assert records.progress() == (0, 0)
    records.set_progress(13, 12)
    records.set_progress(11, 5)
    assert records.progress() == (13, 12)
    records.forget()
    records.set_progress(3, 2)
    assert records.progress() == (3, 2)


def test_a_pass_of_scrubbing_begins_once_and_knows_what_is_due(blob_index: BlobIndex) -> None:
    hold(blob_index, DIGESTS[:3])
    records = ScrubRecords(blob_index)
    assert [records.begin(now) for now in (5.0, 6.0)] == [5.0, 5.0]
    assert records.due(5.0) == (3, 3)
    due = records.next_due(DIGESTS[0], 5.0, 10)
    assert due == [DueBlob(digest, 1, 1.0) for digest in DIGESTS[1:3]]
    records.note_read(due, 6.0)
    assert records.due(5.0) == (1, 1)
    records.end()
    assert records.begin(7.0) == 7.0


def test_what_is_set_aside_is_lost_until_it_comes_in_again(blob_index: BlobIndex) -> None:
    hold(blob_index, [DIGEST])
    records, moved = ScrubRecords(blob_index), list[str]()
    blob = DueBlob(DIGEST, 1, 1.0)

    def set_aside(which: DueBlob, *, is_mended: bool = False) -> Fault | None:
        return records.set_aside(which, "bad", 4.0, is_mended=lambda: is_mended, move=lambda: moved.append("moved"))

    assert set_aside(DueBlob(DIGEST, 1, 0.5)) is None
    assert set_aside(blob, is_mended=True) is None
    assert moved == []
    assert set_aside(blob) == Fault(DIGEST, 1, "bad")
    assert (moved, blob_index.size(DIGEST), records.quarantined()) == (["moved"], None, [Fault(DIGEST, 1, "bad")])
    assert not records.remove_healed(DIGEST, 9.0, lambda: moved.append("removed"))
    hold(blob_index, [DIGEST], now=5.0)
    assert (blob_index.size(DIGEST), records.quarantined()) == (1, [])
    assert not records.remove_healed(DIGEST, 5.0, lambda: moved.append("removed"))
    assert records.remove_healed(DIGEST, 6.0, lambda: moved.append("removed"))
    assert moved == ["moved", "removed"]
