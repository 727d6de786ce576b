"""Layers that were left upstream: fetched with the first pull, once for all who wait, and verified before they are whole."""

import concurrent.futures
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.blobs.origins import Deferred, Origin, Policy, source_records
from catalog.blobs.uploads import Uploads, UploadSession
from catalog.bundles.writer import ExportedVersion, plan_export
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import InvalidInput, StorageFull
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image
from tests.api.conftest import Api, codes, serve
from tests.conftest import EntrepotFactory
from tests.mirror import mirror
from tests.on_postgresql import staging_folder
from tests.servers import wait_until
from tests.upstream import Reply, Seen, Upstream

NAME = "team/app"
LAYER = os.urandom(3_000_000)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    artifact = pack_artifact(store, "application/x-large", [("application/octet-stream", LAYER)])
    store.put_tag("v1", artifact.digest)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as running:
        yield running


@contextmanager
def synced(tmp_path: Path, upstream: Upstream, policy: Policy = "on_demand") -> Iterator[Api]:
    """A registry of a home that a sync has left layers out of."""
    mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}", policy=policy)
    assert blob_gets(upstream, LAYER) == 0
    with serve(tmp_path / "entrepot", upstream_attempts=1) as api:
        yield api


def blob_gets(upstream: Upstream, data: bytes) -> int:
    digest = Digest.of(data)
    return sum(1 for seen in upstream.seen if seen.method == "GET" and seen.reference == digest)


def get(api: Api, data: bytes, **headers: str) -> httpx.Response:
    return api.anybody.get(f"/v2/{NAME}/blobs/{Digest.of(data)}", headers=headers)


def staged(tmp_path: Path) -> list[Path]:
    return list(staging_folder(tmp_path / "entrepot").iterdir())


def test_the_first_pull_fetches_and_keeps_it(tmp_path: Path, upstream: Upstream) -> None:
    with synced(tmp_path, upstream) as api:
        head = api.anybody.head(f"/v2/{NAME}/blobs/{Digest.of(LAYER)}")
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(LAYER)))
        assert api.catalog.content.size(Digest.of(LAYER)) is None
        for _ in range(2):
            answer = get(api, LAYER)
            assert (answer.status_code, answer.content) == (200, LAYER)
            wait_until(lambda: api.catalog.content.size(Digest.of(LAYER)) == len(LAYER), 10, "it is kept")
        assert blob_gets(upstream, LAYER) == 1
        assert staged(tmp_path) == []
        part = get(api, LAYER, Range="bytes=5-9")
        assert (part.status_code, part.content) == (206, LAYER[5:10])


@pytest.mark.parametrize("policy", ["on_demand", "streamed"])
def test_many_clients_cost_one_fetch(tmp_path: Path, upstream: Upstream, policy: Policy) -> None:
    all_wait = threading.Event()

    def when_all_wait(seen: Seen, _good: Reply) -> None:
        if seen.route == "blob":
            assert all_wait.wait(20)

    with synced(tmp_path, upstream, policy) as api, concurrent.futures.ThreadPoolExecutor(8) as threads:
        upstream.faults.append(when_all_wait)
        upstream.silence(route="blob", seconds=2)  # from being under way to waiting is a moment more
        answers = [threads.submit(get, api, LAYER) for _ in range(8)]
        wait_until(lambda: api.busy() == 8, 20, "all requests are under way")
        all_wait.set()
        assert [answer.result().content == LAYER for answer in answers] == [True] * 8
        assert blob_gets(upstream, LAYER) == 1


def test_clients_of_several_processes_cost_one_fetch(
    tmp_path: Path, upstream: Upstream, entrepot_server: EntrepotFactory
) -> None:
    upstream.silence(route="blob", seconds=3)  # long enough for all to ask, even where there is much else to do
    mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}", policy="on_demand")
    server = entrepot_server(tmp_path / "entrepot", env={"ENTREPOT_SERVER_PROCESSES": "2"})
    url = f"{server.url}/v2/{NAME}/blobs/{Digest.of(LAYER)}"
    with concurrent.futures.ThreadPoolExecutor(16) as threads:  # each on a connection of its own
        answers = list(threads.map(lambda _: httpx.get(url, trust_env=False, timeout=30).content == LAYER, range(16)))
    assert answers == [True] * 16
    assert blob_gets(upstream, LAYER) == 1


def test_what_is_streamed_is_not_kept(tmp_path: Path, upstream: Upstream) -> None:
    with synced(tmp_path, upstream, "streamed") as api:
        for number in (1, 2):
            assert get(api, LAYER).content == LAYER
            assert blob_gets(upstream, LAYER) == number
            wait_until(lambda: staged(tmp_path) == [], 10, "the staged bytes are dropped")
            assert api.catalog.content.size(Digest.of(LAYER)) is None


def test_a_range_of_what_is_not_there_yet(tmp_path: Path, upstream: Upstream) -> None:
    with synced(tmp_path, upstream) as api:
        part = get(api, LAYER, Range=f"bytes={len(LAYER) - 10}-")
        assert (part.status_code, part.content) == (206, LAYER[-10:])


def test_bytes_reach_the_client_before_all_are_there(tmp_path: Path, upstream: Upstream) -> None:
    some_are_there = threading.Event()

    def rest_only_then(seen: Seen, _good: Reply) -> None:
        if "range" in seen.headers:
            assert some_are_there.wait(20)

    upstream.cut(Digest.of(LAYER), after=1_000_000)
    upstream.faults.append(rest_only_then)
    with synced(tmp_path, upstream) as api:
        received = bytearray()
        with api.anybody.stream("GET", f"/v2/{NAME}/blobs/{Digest.of(LAYER)}") as answer:
            for chunk in answer.iter_raw():
                received += chunk
                if len(received) > 500_000:
                    some_are_there.set()
        assert received == LAYER
        assert blob_gets(upstream, LAYER) == 2


@contextmanager
def writes_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Keep all writes of arriving bytes waiting until the event is set; it is set at the end."""
    may_write, write = threading.Event(), UploadSession.write

    def write_then(session: UploadSession, data: bytes) -> None:
        assert may_write.wait(20)
        write(session, data)

    monkeypatch.setattr(UploadSession, "write", write_then)
    try:
        yield may_write
    finally:
        may_write.set()


def test_the_first_bytes_do_not_wait_for_the_disk(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with synced(tmp_path, upstream) as api, writes_held(monkeypatch) as may_write:
        url = f"/v2/{NAME}/blobs/{Digest.of(LAYER)}"
        with api.anybody.stream("GET", url) as one, api.anybody.stream("GET", url) as other:
            answers = [one.iter_raw(), other.iter_raw()]
            received = [next(answer) for answer in answers]
            assert all(some and LAYER.startswith(some) for some in received)
            assert [path.stat().st_size for path in staged(tmp_path)] == [0]
            may_write.set()
            for some, answer in zip(received, answers, strict=True):
                assert b"".join([some, *answer]) == LAYER
        assert blob_gets(upstream, LAYER) == 1
        wait_until(lambda: api.catalog.content.size(Digest.of(LAYER)) == len(LAYER), 10, "it is kept")


def test_a_disk_that_fails_ends_the_answer_early(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_session: UploadSession, _data: bytes) -> None:
        raise StorageFull("no room")

    with synced(tmp_path, upstream) as api:
        with monkeypatch.context() as patch:
            patch.setattr(UploadSession, "write", fail)
            with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
                read_into(api, bytearray())
        assert api.catalog.content.size(Digest.of(LAYER)) is None
        wait_until(lambda: staged(tmp_path) == [], 10, "the staged bytes are dropped")
        assert get(api, LAYER).content == LAYER


def test_a_full_disk_is_told_before_a_byte_is_sent(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(_uploads: Uploads, size: int) -> None:
        if size > 0:
            raise StorageFull("no room")

    with synced(tmp_path, upstream) as api:
        with monkeypatch.context() as patch:
            patch.setattr(Uploads, "check_room", check)
            assert get(api, LAYER).status_code == 507
        assert staged(tmp_path) == []
        assert get(api, LAYER).content == LAYER


def test_a_corrupt_upstream_never_makes_a_whole_answer(tmp_path: Path, upstream: Upstream) -> None:
    upstream.replace(Digest.of(LAYER), LAYER[:-1] + bytes([LAYER[-1] ^ 1]))
    with synced(tmp_path, upstream) as api:
        received = bytearray()
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            read_into(api, received)
        assert 0 < len(received) < len(LAYER)
        assert api.catalog.content.size(Digest.of(LAYER)) is None
        assert staged(tmp_path) == []
        upstream.faults.clear()
        assert get(api, LAYER).content == LAYER


def read_into(api: Api, received: bytearray) -> None:
    with api.anybody.stream("GET", f"/v2/{NAME}/blobs/{Digest.of(LAYER)}") as answer:
        for chunk in answer.iter_raw():
            received += chunk


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [(500, 503, "UNKNOWN"), (404, 404, "MANIFEST_UNKNOWN"), (429, 429, "TOOMANYREQUESTS")],
)
def test_an_upstream_that_refuses_is_told(
    tmp_path: Path, upstream: Upstream, status: int, answered: int, code: str
) -> None:
    with synced(tmp_path, upstream) as api:
        upstream.fail(status, route="blob")
        answer = get(api, LAYER)
        assert (answer.status_code, codes(answer)) == (answered, [code])
        assert upstream.host in answer.json()["errors"][0]["message"]
        upstream.faults.clear()
        assert get(api, LAYER).content == LAYER


def test_what_belongs_to_an_image_is_copied_at_once(tmp_path: Path, upstream: Upstream, store: MemoryStore) -> None:
    image = store.manifests[store.tagged["v1"]]
    sbom = b'{"spdxVersion": "SPDX-2.3"}'
    attached = pack_artifact(store, "application/spdx+json", [("application/spdx+json", sbom)], subject=image)
    store.put_tag("sbom", attached.digest)
    with synced(tmp_path, upstream) as api:
        assert blob_gets(upstream, sbom) == 1
        assert get(api, sbom).content == sbom
        assert blob_gets(upstream, sbom) == 1


def test_an_immediate_sync_fetches_what_was_left(tmp_path: Path, upstream: Upstream, store: MemoryStore) -> None:
    image = pack_image(store, [{"file": "text"}])
    store.put_tag("v2", image.digest)
    with synced(tmp_path, upstream) as api:
        assert api.catalog.maintenance.usage().upstream == len(LAYER) + image.layers[0].size
        assert api.catalog.maintenance.usage().loose == 0
        with pytest.raises(InvalidInput, match=r"2 blob\(s\) of team/app version 1 were left upstream"):
            plan_export(api.catalog, [ExportedVersion(NAME)], now=datetime.now(UTC))
        result = mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}")
        assert api.catalog.maintenance.usage().upstream == 0
        assert (result.counts["completed"], result.changed) == (2, False)
        assert blob_gets(upstream, LAYER) == 1
        assert api.catalog.content.size(Digest.of(LAYER)) == len(LAYER)
        assert mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}").counts["unchanged"] == 2
        assert get(api, LAYER).content == LAYER
        assert blob_gets(upstream, LAYER) == 1


@pytest.fixture
def second(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as running:
        yield running


@contextmanager
def of_two(tmp_path: Path, first: Upstream, second: Upstream, **changes: object) -> Iterator[Api]:
    """A registry that knows the layer at `second`, and at `first`, which is asked first."""
    mirror(tmp_path / "entrepot", f"{first.host}/{NAME}", policy="on_demand")
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog, catalog._lake.write() as writer:
        deferred = Deferred(Digest.of(LAYER), len(LAYER), Origin(f"{second.host}/{NAME}", "on_demand"))
        writer.append("sources", source_records(NAME, 1, [deferred], datetime(2026, 1, 1, tzinfo=UTC)))
    with serve(tmp_path / "entrepot", upstream_attempts=1, **changes) as api:
        yield api


def test_where_one_source_breaks_off_the_next_goes_on(tmp_path: Path, upstream: Upstream, second: Upstream) -> None:
    upstream.cut(Digest.of(LAYER), after=1_500_000, times=99)
    with of_two(tmp_path, upstream, second) as api:
        answer = get(api, LAYER)
        assert (answer.status_code, answer.content) == (200, LAYER)
        assert blob_gets(upstream, LAYER) == 1
        (asked,) = [seen.headers.get("range", "") for seen in second.seen if seen.reference == Digest.of(LAYER)]
        assert asked.startswith("bytes=")
        wait_until(lambda: api.catalog.content.size(Digest.of(LAYER)) == len(LAYER), 10, "it is kept")
        assert staged(tmp_path) == []
        # Neither has shown that it has all of it, so that neither is believed when it says so of another repository.
        assert api.catalog.content.origins(Digest.of(LAYER)) == frozenset()


def test_two_halves_that_do_not_fit_are_never_sent_whole(tmp_path: Path, upstream: Upstream, second: Upstream) -> None:
    upstream.cut(Digest.of(LAYER), after=1_500_000, times=99)
    second.faults.append(lambda seen, good: spoilt(good) if seen.reference == Digest.of(LAYER) else None)
    with of_two(tmp_path, upstream, second) as api:
        received = bytearray()
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            read_into(api, received)
        assert len(received) < len(LAYER)
        assert api.catalog.content.size(Digest.of(LAYER)) is None
        assert staged(tmp_path) == []


def spoilt(good: Reply) -> Reply:
    """The same with another last byte."""
    good.body = good.body[:-1] + bytes([good.body[-1] ^ 1])
    return good
