"""Two machines, one record of held blobs in PostgreSQL: held never without bytes, and bytes never removed of what is held."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog.blobs.index import BlobIndex, BlobRecord
from catalog.blobs.ingest_queue import Ingest, IngestQueue
from catalog.blobs.local_store import LocalBlobStore
from catalog.blobs.scrub_records import DueBlob, Fault, ScrubRecords
from catalog.blobs.uploads import Uploads
from oci.digest import Digest
from oci.errors import CatalogUnavailable
from tests.holdings import hold, open_shared_index
from tests.postgresql import PostgresServer
from tests.servers import wait_until

OLD, SINCE, YOUNG = 1.0, 2.0, 3.0
"""Times of leases that do not protect, that protect, and between them."""

DATA = b"a layer"
DIGEST = Digest.of(DATA)
RECORD = BlobRecord(DIGEST, len(DATA))
ROUNDS = 60


@dataclass
class Machines:
    """Two machines over one store; `one` and `two` have connections of their own."""

    server: PostgresServer
    database: str
    store: LocalBlobStore
    one: BlobIndex
    two: BlobIndex
    threads: ThreadPoolExecutor

    def run(self, call: Callable[..., object], *args: object, **options: object) -> Future[object]:
        return self.threads.submit(call, *args, **options)

    def wait_for_lock(self, running: Future[object]) -> None:
        """Wait until a call waits for a lock; fail when it ends without."""
        question = "SELECT 1 FROM pg_locks JOIN pg_database ON oid = database WHERE NOT granted AND datname = "

        def is_waiting() -> bool:
            assert not running.done(), "it did not wait for the other"
            return bool(self.server.execute(f"{question}'{self.database}'")) or self._waits_for_row()

        wait_until(is_waiting, 20, "it waits for the other")

    def _waits_for_row(self) -> bool:  # of which the lock is that of the other's transaction, in no database
        question = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
        return bool(self.server.execute(f"{question}'{self.database}'"))

    def end_connections(self) -> None:
        """End those that are in a transaction, as a failing network does."""
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{self.database}' AND xact_start IS NOT NULL"
        )

    def place(self) -> None:
        staged = self.store.staging / f"staged-{threading.get_ident()}"
        staged.write_bytes(DATA)
        self.store.adopt(staged, DIGEST)

    def has_bytes(self) -> bool:
        return self.store.path(DIGEST).exists()

    def check(self, *, held: bool) -> None:
        assert (self.two.size(DIGEST) is not None, self.has_bytes()) == (held, held)


@pytest.fixture
def machines(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Machines]:
    url = postgres_server.new_database()
    one, two = open_shared_index(url), open_shared_index(url)
    store = LocalBlobStore(tmp_path / "blobs")
    with ThreadPoolExecutor(8) as threads:
        yield Machines(postgres_server, url.rpartition("/")[2], store, one, two, threads)
    one.database.close()
    two.database.close()


class Pause:
    """A step that stands still in the midst of it until it is told to go on."""

    def __init__(self, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None) -> None:
        self._before, self._after = before, after
        self.is_there, self._goes_on = threading.Event(), threading.Event()

    def __call__(self, *_: object) -> None:
        self._before()
        self.is_there.set()
        assert self._goes_on.wait(20)
        self._after()

    def wait(self) -> None:
        assert self.is_there.wait(20)

    def go_on(self) -> None:
        self._goes_on.set()


def ingest(index: BlobIndex, place: Callable[[], object], now: float = YOUNG) -> Ingest:
    one = Ingest(DIGEST, len(DATA), place, "team/app", "", now)  # type: ignore[arg-type]  # what it returns is dropped
    index.ingest([one], lambda _: None)
    return one


def is_held(running: Future[object]) -> bool:
    one = running.result(20)
    assert isinstance(one, Ingest)
    return one.error is None


def test_what_comes_in_again_is_not_given_up_meanwhile(machines: Machines) -> None:
    ingest(machines.one, machines.place, OLD)
    placed = Pause(before=machines.place)
    coming = machines.run(ingest, machines.one, placed)
    placed.wait()
    assert machines.two.give_up([RECORD], since=SINCE) == []  # and it does not wait for a slow store
    machines.two.remove_left(machines.store)
    placed.go_on()
    assert is_held(coming)
    machines.check(held=True)


def test_bytes_that_come_in_again_are_not_removed_meanwhile(machines: Machines) -> None:
    ingest(machines.one, machines.place, OLD)
    assert machines.one.give_up([RECORD], since=SINCE) == [RECORD]
    placed = Pause(before=machines.place)
    coming = machines.run(ingest, machines.one, placed)
    placed.wait()
    machines.two.remove_left(machines.store)
    assert machines.has_bytes()
    placed.go_on()
    assert is_held(coming)
    machines.two.remove_left(machines.store)
    machines.check(held=True)
    assert machines.two.known([DIGEST]) == {DIGEST}
    assert machines.two.give_up([RECORD], since=SINCE) == []


def test_bytes_come_in_after_those_that_are_being_removed(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(machines.one, machines.place, OLD)
    machines.one.give_up([RECORD], since=SINCE)
    deleting = Pause(after=lambda: machines.store.path(DIGEST).unlink())
    monkeypatch.setattr(machines.store, "delete", deleting)
    removing = machines.run(machines.two.remove_left, machines.store)
    deleting.wait()
    coming = machines.run(ingest, machines.one, machines.place)
    machines.wait_for_lock(coming)
    deleting.go_on()
    removing.result(20)
    assert is_held(coming)
    machines.check(held=True)


def test_who_waits_for_another_machine_keeps_nobody_of_its_group(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(machines.one, machines.place, OLD)
    machines.one.give_up([RECORD], since=SINCE)
    deleting = Pause()
    monkeypatch.setattr(machines.store, "delete", deleting)
    removing = machines.run(machines.two.remove_left, machines.store)
    deleting.wait()
    other = Digest.of(b"another layer")
    group = [Ingest(digest, 1, lambda: None, "team/app", "", YOUNG) for digest in (DIGEST, other)]
    coming = machines.run(machines.one.ingest, group, lambda _: None)
    machines.wait_for_lock(coming)
    assert machines.two.size(other) == 1
    deleting.go_on()
    removing.result(20)
    coming.result(20)
    assert machines.two.size(DIGEST) == 1


def test_a_lease_that_is_being_added_keeps_the_blob(machines: Machines) -> None:
    ingest(machines.one, machines.place, OLD)
    with machines.one.database.transaction() as transaction:
        added = transaction.execute(machines.one.add_link_sql, ("team/other", "", YOUNG, DIGEST))
        assert added.rowcount == 1
        giving_up = machines.run(machines.two.give_up, [RECORD], since=SINCE)
        machines.wait_for_lock(giving_up)
    assert giving_up.result(20) == []
    machines.check(held=True)
    assert machines.two.repositories_of(DIGEST) == {"team/app", "team/other"}


def test_no_lease_is_told_of_a_blob_that_is_being_given_up(machines: Machines) -> None:
    ingest(machines.one, machines.place, OLD)
    with machines.two.database.transaction() as transaction:
        assert machines.two._give_up(transaction, {DIGEST: RECORD}, SINCE) == [RECORD]
        leasing = machines.run(machines.one.add_link, "team/other", DIGEST, media_type="", now=YOUNG)
        machines.wait_for_lock(leasing)
    assert leasing.result(20) is False
    assert machines.one.repositories_of(DIGEST) == set()


def test_unknown_bytes_that_come_in_are_not_removed_and_come_in_after_a_removal(machines: Machines) -> None:
    placed = Pause(before=machines.place)
    coming = machines.run(ingest, machines.one, placed)
    placed.wait()
    assert not machines.two.remove_unknown(RECORD, machines.store.path(DIGEST).unlink)
    placed.go_on()
    assert is_held(coming)
    machines.check(held=True)
    assert machines.one.give_up([RECORD], since=YOUNG + 1) == [RECORD]
    removing = Pause(after=machines.store.path(DIGEST).unlink)
    removal = machines.run(machines.two.remove_unknown, RECORD, removing)
    removing.wait()
    coming = machines.run(ingest, machines.one, machines.place)
    machines.wait_for_lock(coming)
    removing.go_on()
    assert removal.result(20) is True
    assert is_held(coming)
    machines.check(held=True)


def test_what_is_set_aside_is_healed_by_who_comes_after(machines: Machines) -> None:
    ingest(machines.one, machines.place, OLD)
    moving = Pause(after=lambda: machines.store.set_aside(DIGEST))
    blob = DueBlob(DIGEST, len(DATA), OLD)
    scrub = machines.run(ScrubRecords(machines.two).set_aside, blob, "bad", YOUNG, is_mended=lambda: False, move=moving)
    moving.wait()
    coming = machines.run(ingest, machines.one, machines.place)
    machines.wait_for_lock(coming)
    moving.go_on()
    assert scrub.result(20) == Fault(DIGEST, len(DATA), "bad")
    assert is_held(coming)
    machines.check(held=True)
    assert ScrubRecords(machines.one).quarantined() == []


def test_a_scrub_waits_for_who_brings_the_blob_and_looks_again(machines: Machines) -> None:
    ingest(machines.one, machines.place, OLD)
    machines.store.path(DIGEST).unlink()
    placed = Pause(before=machines.place)
    coming = machines.run(ingest, machines.one, placed)
    placed.wait()
    blob = DueBlob(DIGEST, len(DATA), OLD)
    scrub = machines.run(
        ScrubRecords(machines.two).set_aside,
        blob,
        "gone",
        YOUNG,
        is_mended=machines.has_bytes,
        move=lambda: machines.store.set_aside(DIGEST),
    )
    machines.wait_for_lock(scrub)
    placed.go_on()
    assert is_held(coming)
    assert scrub.result(20) is None
    machines.check(held=True)


def test_all_at_once_what_is_held_has_bytes_and_a_lease_is_kept(machines: Machines) -> None:
    """Rounds of everybody at one digest; what a lease was told of stays to the end of the round."""
    begin = threading.Barrier(5)

    def give_up(index: BlobIndex) -> None:
        begin.wait(20)
        index.give_up([RECORD], since=SINCE)
        index.remove_left(machines.store)

    def bring(index: BlobIndex) -> Ingest:
        begin.wait(20)
        return ingest(index, machines.place, OLD)

    def lease(index: BlobIndex) -> bool:
        begin.wait(20)
        return index.add_link("team/leased", DIGEST, media_type="", now=YOUNG)

    leased_rounds = 0
    for _ in range(ROUNDS):
        sweeps = [machines.run(give_up, index) for index in (machines.one, machines.two)]
        comings = [machines.run(bring, index) for index in (machines.one, machines.two)]
        is_leased = machines.run(lease, machines.two).result(20)
        assert all(is_held(coming) for coming in comings)
        for sweep in sweeps:
            sweep.result(20)
        held = machines.one.size(DIGEST) is not None
        assert machines.has_bytes() or not held
        assert held or not is_leased
        assert ScrubRecords(machines.one).quarantined() == []
        leased_rounds += bool(is_leased)
        machines.one.end_links("team/leased")
        machines.one.give_up([RECORD], since=SINCE)
        machines.one.remove_left(machines.store)
        machines.check(held=False)
    assert leased_rounds < ROUNDS  # else the sweeps never came first, and nothing was tried


def test_leases_of_several_blobs_are_locked_in_the_order_of_their_key(machines: Machines) -> None:
    for name in ("team/z", "team/a"):  # that of their rows is another
        hold(machines.one, [DIGEST], repository=name, now=OLD)
    renew = "UPDATE links SET linked_at = ? WHERE repository = ?"
    with machines.one.database.transaction() as transaction:
        transaction.execute(renew, (OLD, "team/a"))
        giving_up = machines.run(machines.two.give_up, [RECORD], since=SINCE)
        machines.wait_for_lock(giving_up)
        transaction.execute(renew, (OLD, "team/z"))  # where it had the other, each would wait for the other
    assert giving_up.result(20) == [RECORD]


def test_two_sweeps_two_settlers_and_uploads_never_wait_for_each_other_for_ever(machines: Machines) -> None:
    digests = [Digest.of(b"%d" % number) for number in range(200)]
    names = [f"team/{number}" for number in range(6)]
    given_up: list[Digest] = []

    def shuffled(values: Sequence[Digest]) -> list[Digest]:
        return random.sample(values, len(values))

    def sweep(index: BlobIndex) -> None:
        for _ in range(6):
            given_up.extend(
                blob.digest
                for blob in index.give_up([BlobRecord(digest, 1) for digest in shuffled(digests)], since=SINCE)
            )
            index.remove_left(machines.store)

    def settle(index: BlobIndex) -> None:
        for _ in range(6):
            links = [(name, digest) for name in names for digest in shuffled(digests)]
            index.renew_links(links, now=OLD)
            index.drop_links(links[::3], before=OLD)
            index.end_links(random.choice(names))  # no secret

    def bring(index: BlobIndex) -> None:
        for name in names:
            for _ in range(4):
                hold(index, shuffled(digests)[:64], repository=name, now=OLD)

    acts = [machines.run(act, index) for act in (sweep, settle, bring) for index in (machines.one, machines.two)]
    for act in acts:
        act.result(120)
    hold(machines.one, digests)
    for index in (machines.one, machines.two):
        sweep(index)
    assert machines.two.totals() == (0, 0)
    assert machines.two.known(digests) == set()
    assert len(given_up) > len(digests)


def test_an_upload_whose_connection_ends_tells_so_and_leaves_nothing_half_there(machines: Machines) -> None:
    queue = IngestQueue(lambda group: machines.one.ingest(group, lambda _: None))
    other = Digest.of(b"another layer")
    placed = Pause(before=machines.place)
    coming = machines.run(queue.ingest, Ingest(DIGEST, len(DATA), placed, "team/app", "", YOUNG))
    placed.wait()
    machines.end_connections()
    waiting = machines.run(queue.ingest, Ingest(other, 1, lambda: None, "team/app", "", YOUNG))
    placed.go_on()
    with pytest.raises(CatalogUnavailable, match=r"cannot use postgresql://entrepot@"):
        coming.result(20)
    assert waiting.result(20) is None  # of the next group, with a connection that is well
    assert machines.two.sizes([DIGEST, other]) == {other: 1}
    assert machines.two.repositories_of(DIGEST) == set()
    queue.ingest(Ingest(DIGEST, len(DATA), machines.place, "team/app", "", YOUNG))
    machines.check(held=True)


def test_an_upload_session_can_be_sent_again_after_its_connection_ended(machines: Machines) -> None:
    uploads = Uploads(machines.store, machines.one, clock=lambda: YOUNG, expiry=60.0)
    adopt = machines.store.adopt

    def adopt_and_end(staged: Path, digest: Digest) -> None:
        adopt(staged, digest)
        machines.store.adopt = adopt  # type: ignore[method-assign]
        machines.end_connections()

    machines.store.adopt = adopt_and_end  # type: ignore[method-assign]
    for error in (CatalogUnavailable, None):
        session = uploads.begin("team/app")
        session.write(DATA)
        if error is None:
            assert session.finish(DIGEST) == len(DATA)
        else:
            with pytest.raises(error):
                session.finish(DIGEST)
            session.cancel()
            assert machines.two.size(DIGEST) is None
    machines.check(held=True)


def test_bytes_removed_after_the_lock_was_lost_are_told_as_lost(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that ends gives its locks away, and the request to the store is under way: no lock can take it back."""
    ingest(machines.one, machines.place, OLD)
    machines.one.give_up([RECORD], since=SINCE)
    deleting = Pause(after=lambda: machines.store.path(DIGEST).unlink())
    with monkeypatch.context() as patch:
        patch.setattr(machines.store, "delete", deleting)
        removing = machines.run(machines.two.remove_left, machines.store)
        deleting.wait()
        machines.end_connections()
        assert ingest(machines.one, machines.place).error is None
        deleting.go_on()
        with pytest.raises(CatalogUnavailable):
            removing.result(20)
    machines.one.remove_left(machines.store)
    machines.check(held=False)
    assert [fault.digest for fault in ScrubRecords(machines.one).quarantined()] == [DIGEST]
    assert ingest(machines.two, machines.place).error is None
    machines.check(held=True)
    assert ScrubRecords(machines.one).quarantined() == []
