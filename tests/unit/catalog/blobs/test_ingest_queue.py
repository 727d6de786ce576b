"""Ingests of several threads share transactions, and each gets its own error."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

from catalog.blobs import ingest_queue
from catalog.blobs.index import BlobIndex
from catalog.blobs.ingest_queue import Ingest, IngestQueue, place_all
from catalog.blobs.local_store import BlobVanished
from oci.digest import Digest
from oci.errors import StorageFull
from tests.servers import wait_until

DIGESTS = [Digest.of(b"%d" % number) for number in range(8)]


def arriving(digest: Digest, place: Callable[[], None] = lambda: None) -> Ingest:
    return Ingest(digest, 1, place, "team/app", "", 1.0)


def test_those_that_come_while_one_is_written_share_the_next_transaction() -> None:
    groups: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def write(group: Sequence[Ingest]) -> None:
        groups.append(len(group))
        begun.set()
        assert go_on.wait(20)

    queue = IngestQueue(write)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(queue.ingest, arriving(DIGESTS[0]))
        assert begun.wait(20)
        others = [pool.submit(queue.ingest, arriving(digest)) for digest in DIGESTS[1:]]
        wait_until(lambda: len(queue._waiting) == 7, 20, "the others wait")
        go_on.set()
        for done in (first, *others):
            done.result(20)
    assert groups == [1, 7]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_group_that_takes_long_holds_up_others_only_where_groups_go_one_by_one(
    groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_queue, "_LATE", 0.05)
    begun, go_on = threading.Event(), threading.Event()

    def write(group: Sequence[Ingest]) -> None:
        if group[0].digest == DIGESTS[0]:
            begun.set()
            assert go_on.wait(20)

    queue = IngestQueue(write, groups=groups)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(queue.ingest, arriving(DIGESTS[0]))
        assert begun.wait(20)
        second = pool.submit(queue.ingest, arriving(DIGESTS[1]))
        done, _ = wait([second], timeout=20 if groups > 1 else 0.5)
        assert bool(done) == (groups > 1)
        assert not first.done()
        go_on.set()
        first.result(20)
        second.result(20)


def test_what_is_done_before_the_rest_of_its_group_does_not_wait_for_it() -> None:
    begun, first_go_on, rest_go_on = threading.Event(), threading.Event(), threading.Event()

    def write(group: Sequence[Ingest]) -> None:
        if len(group) == 1:
            begun.set()
            assert first_go_on.wait(20)
            return
        for one in group[1:]:
            one.is_done = True
        assert rest_go_on.wait(20)
        raise StorageFull("no room for the rest")

    queue = IngestQueue(write)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(queue.ingest, arriving(DIGESTS[0]))
        assert begun.wait(20)
        others = [pool.submit(queue.ingest, arriving(digest)) for digest in DIGESTS[1:4]]
        wait_until(lambda: len(queue._waiting) == 3, 20, "the others wait")
        first_go_on.set()
        early, _ = wait(others, timeout=20, return_when=FIRST_COMPLETED)
        assert [one.exception() for one in early] in ([None], [None, None])
        rest_go_on.set()
        first.result(20)
        assert sorted(type(one.exception(20)).__name__ for one in others) == ["NoneType", "NoneType", "StorageFull"]


def test_a_blob_that_cannot_be_placed_does_not_touch_the_others(blob_index: BlobIndex) -> None:
    def vanish() -> None:
        raise BlobVanished("removed by a sweep")

    settled: list[Digest] = []
    group = [arriving(DIGESTS[0]), arriving(DIGESTS[1], vanish), arriving(DIGESTS[2])]
    blob_index.ingest(group, settled.extend)
    assert [type(one.error) for one in group] == [type(None), BlobVanished, type(None)]
    assert settled == [DIGESTS[0], DIGESTS[2]]
    assert [blob_index.size(digest) for digest in DIGESTS[:3]] == [1, None, 1]


@pytest.mark.parametrize("is_remote", [False, True])
def test_blobs_of_a_remote_store_are_placed_side_by_side(is_remote: bool) -> None:
    both = threading.Barrier(2)

    def meet() -> None:
        both.wait(20 if is_remote else 0)

    group = [arriving(digest, meet) for digest in DIGESTS[:2]]
    place_all(group, is_remote=is_remote)
    alone = [isinstance(one.error, threading.BrokenBarrierError) for one in group]
    assert alone == [not is_remote] * 2


def test_blobs_whose_places_are_not_durable_are_not_held(blob_index: BlobIndex) -> None:
    def refuse(_digests: Sequence[Digest]) -> None:
        raise StorageFull("no room")

    queue = IngestQueue(lambda group: blob_index.ingest(group, refuse))
    with pytest.raises(StorageFull):
        queue.ingest(arriving(DIGESTS[0]))
    assert blob_index.size(DIGESTS[0]) is None


def test_a_thread_that_ends_while_it_writes_leaves_nobody_waiting() -> None:
    def write(_group: Sequence[Ingest]) -> None:
        raise KeyboardInterrupt

    queue = IngestQueue(write)
    with pytest.raises(KeyboardInterrupt):
        queue.ingest(arriving(DIGESTS[0]))
    with pytest.raises(KeyboardInterrupt):
        queue.ingest(arriving(DIGESTS[1]))


def test_those_that_wait_go_on_when_the_one_who_writes_for_them_is_ended() -> None:
    groups: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def write(group: Sequence[Ingest]) -> None:
        groups.append(len(group))
        if len(groups) == 1:
            begun.set()
            assert go_on.wait(20)
        if len(groups) == 2:
            raise KeyboardInterrupt

    queue = IngestQueue(write)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(queue.ingest, arriving(DIGESTS[0]))
        assert begun.wait(20)
        others = [pool.submit(queue.ingest, arriving(digest)) for digest in DIGESTS[1:4]]
        wait_until(lambda: len(queue._waiting) == 3, 20, "the others wait")
        go_on.set()
        first.result(20)
        ends = [one.exception(20) for one in others]
    assert sorted(type(end).__name__ for end in ends) == ["KeyboardInterrupt", "NoneType", "NoneType"]
    assert groups == [1, 3, 2]
