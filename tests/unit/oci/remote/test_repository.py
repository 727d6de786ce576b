"""The remote client against an upstream that fails on demand: what it survives, what it asks, what it says."""

import asyncio
import socketserver
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from oci.copy import copy_graph
from oci.descriptor import Descriptor
from oci.errors import (
    RemoteCorrupt,
    RemoteError,
    RemoteNotFound,
    RemoteRateLimited,
    RemoteRefused,
    RemoteUnauthorized,
    RemoteUnavailable,
)
from oci.manifest import MAX_BYTES, Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.remote.auth.keychain import Credential
from oci.remote.limits.traffic import Traffic
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.upstream import Upstream

T = TypeVar("T")
LAYER = bytes(range(256)) * 2000


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"layer": LAYER}]).digest)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({"team/app": store}) as upstream:
        yield upstream


class Pauses(list[float]):
    """Stands in for sleeping, and keeps what was asked for."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


Act = Callable[[RemoteRepository], Awaitable[T]]


@pytest.fixture
def ask(upstream: Upstream, pauses: Pauses) -> Callable[..., Any]:
    """Do something with team/app in an event loop of its own."""

    def run(act: Act[T], *, name: str = "team/app", credential: Credential | None = None, **options: Any) -> T:
        async def main() -> T:
            async with RemoteTransport(
                upstream.host,
                options=RemoteOptions(**options),
                find_credential=lambda: credential,
                sleep=pauses.sleep,
                jitter=lambda: 1.0,
            ) as transport:
                return await act(RemoteRepository(transport, name))

        return asyncio.run(main())

    return run


def resolve(reference: str = "v1") -> Act[Descriptor]:
    return lambda remote: remote.resolve(reference)


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def layer_of(store: MemoryStore) -> Descriptor:
    return store.manifests[store.tagged["v1"]].layers[0]


def test_a_tag_is_resolved_by_one_head(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    assert ask(resolve()).digest == store.tagged["v1"]
    assert upstream.counts == {("GET", "base"): 1, ("HEAD", "manifest"): 1}


def test_a_registry_without_head_is_asked_by_get(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    upstream.fail(405, route="manifest", times=1)
    assert ask(resolve()).digest == store.tagged["v1"]
    assert upstream.counts[("GET", "manifest")] == 1


def test_a_head_without_digest_is_followed_by_get(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    def hide(seen: Any, good: Any) -> Any:
        good.headers.pop("docker-content-digest", None)
        return good

    upstream.faults.append(hide)
    assert ask(resolve()) == store.manifests[store.tagged["v1"]].descriptor


def test_tags_come_page_by_page(store: MemoryStore, pauses: Pauses, ask: Any, upstream: Upstream) -> None:
    for number in range(10_000):
        store.tagged[f"t{number:05}"] = store.tagged["v1"]
    upstream._page = 100

    async def act(remote: RemoteRepository) -> list[str]:
        return [tag async for tag in remote.tags()]

    assert ask(act) == sorted(store.tagged)
    assert upstream.counts[("GET", "tags")] == 101


def test_pages_in_a_loop_are_refused(ask: Any, upstream: Upstream) -> None:
    links = iter(["</v2/team/app/tags/list?n=1000>; rel=next"])

    def link(seen: Any, good: Any) -> Any:
        if seen.route == "tags":
            good.headers["link"] = next(links)
        return good

    async def act(remote: RemoteRepository) -> list[str]:
        return [tag async for tag in remote.tags()]

    upstream.faults.append(link)
    with pytest.raises(RemoteCorrupt, match="loop"):
        ask(act)


def test_an_unknown_name_says_where_and_what(ask: Any, upstream: Upstream) -> None:
    with pytest.raises(RemoteNotFound) as caught:
        ask(read_tags, name="no/such")
    assert upstream.host in str(caught.value)
    assert "NAME_UNKNOWN repository name not known" in str(caught.value)
    assert caught.value.status == 404


async def read_tags(remote: RemoteRepository) -> list[str]:
    return [tag async for tag in remote.tags()]


# --- logins ---


@pytest.mark.parametrize("bearer", [False, True])
def test_a_login_is_used(ask: Any, upstream: Upstream, *, bearer: bool) -> None:
    upstream.login, upstream.bearer = ("user", "secret"), bearer
    ask(resolve(), credential=Credential("user", "secret"))
    assert (
        upstream.counts[("HEAD", "manifest")] == 1  # how to log in was learnt from the first answer of all
    )  # a token's scope is asked for before, its absence learnt
    assert upstream.counts[("GET", "token")] == bearer


def test_a_token_serves_many_requests_and_is_renewed_before_its_end(ask: Any, upstream: Upstream) -> None:
    upstream.login, upstream.bearer = ("user", "secret"), True

    async def thrice(remote: RemoteRepository) -> None:
        for _ in range(3):
            await remote.resolve("v1")

    ask(thrice, credential=Credential("user", "secret"))
    assert upstream.counts[("GET", "token")] == 1
    upstream.forget()
    upstream.token_lifetime = 5  # less than the margin: no token is used twice
    ask(thrice, credential=Credential("user", "secret"))
    assert upstream.counts[("GET", "token")] >= 1


@pytest.mark.parametrize("bearer", [False, True])
def test_a_wrong_or_missing_password_is_said_and_not_shown(ask: Any, upstream: Upstream, *, bearer: bool) -> None:
    upstream.login, upstream.bearer = ("user", "secret"), bearer
    with pytest.raises(RemoteUnauthorized, match="refuses the login") as caught:
        ask(resolve(), credential=Credential("user", "wr0ng"))
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(RemoteUnauthorized, match="podman login"):
        ask(resolve())


def test_a_registry_that_always_says_401_is_left(ask: Any, upstream: Upstream) -> None:
    upstream.login, upstream.bearer = ("user", "secret"), True
    upstream.fail(401, route="manifest", www_authenticate=f'Bearer realm="http://{upstream.host}/token"')
    with pytest.raises(RemoteUnauthorized):
        ask(resolve(), credential=Credential("user", "secret"))
    assert upstream.counts[("HEAD", "manifest")] == 2


def test_credentials_do_not_follow_a_redirect_to_another_host(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    upstream.login = ("user", "secret")
    with Upstream({"team/app": store}) as other:
        upstream.redirect("blob", f"http://{other.host}")
        got = ask(lambda remote: read(remote.read_blob(layer_of(store))), credential=Credential("user", "secret"))
        assert got == store.blobs[layer_of(store).digest]
        assert [seen.route for seen in other.seen] == ["blob"]
        assert "authorization" not in other.seen[0].headers


def test_redirects_end(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    upstream.redirect("blob", f"http://{upstream.host}")
    with pytest.raises(RemoteRefused, match="redirects more than 5 times"):
        ask(lambda remote: read(remote.read_blob(layer_of(store))))


# --- retries ---


def test_a_passing_failure_is_survived_with_growing_pauses(ask: Any, upstream: Upstream, pauses: Pauses) -> None:
    upstream.fail(503, route="manifest", times=3)
    ask(resolve())
    assert pauses == [1.0, 2.0, 4.0]


def test_a_lasting_failure_is_told_after_the_last_attempt(ask: Any, upstream: Upstream) -> None:
    upstream.fail(500, route="tags")
    with pytest.raises(RemoteUnavailable, match="answered 500: TESTED a fault of the test"):
        ask(read_tags, attempts=3)
    assert upstream.counts[("GET", "tags")] == 3


@pytest.mark.parametrize(("value", "least", "most"), [("7", 7.0, 8.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, 1.0)])
def test_retry_after_is_respected(
    ask: Any, upstream: Upstream, pauses: Pauses, value: str, least: float, most: float
) -> None:
    upstream.fail(429, route="manifest", times=1, retry_after=value)
    ask(resolve())
    assert least <= pauses[0] <= most


def test_a_rate_limit_longer_than_the_time_left_is_told_at_once(ask: Any, upstream: Upstream, pauses: Pauses) -> None:
    upstream.fail(429, route="manifest", retry_after="7200")
    with pytest.raises(RemoteRateLimited) as caught:
        ask(resolve(), total_timeout=60)
    assert caught.value.retry_after == 7200
    assert pauses == []


def test_what_trying_again_does_not_mend_is_not_tried_again(ask: Any, upstream: Upstream) -> None:
    upstream.fail(403, route="manifest")
    with pytest.raises(RemoteUnauthorized):
        ask(resolve())
    assert upstream.counts[("HEAD", "manifest")] == 1


def test_silence_ends_by_the_read_time_out(ask: Any, upstream: Upstream) -> None:
    upstream.silence(route="manifest", seconds=5)
    with pytest.raises(RemoteUnavailable, match="silent"):
        ask(resolve(), read_timeout=0.2, attempts=1)


def test_nobody_there_is_told(pauses: Pauses) -> None:
    async def main() -> None:
        async with RemoteTransport("127.0.0.1:1", options=RemoteOptions(attempts=2), sleep=pauses.sleep) as transport:
            await RemoteRepository(transport, "team/app").resolve("v1")

    with pytest.raises(RemoteUnavailable, match=r"upstream 127\.0\.0\.1:1: cannot be reached"):
        asyncio.run(main())


def test_plain_http_is_for_loopback_and_named_hosts_only() -> None:
    async def main() -> None:
        async with RemoteTransport("registry.example", scheme="http") as transport:
            await RemoteRepository(transport, "team/app").resolve("v1")

    with pytest.raises(RemoteRefused, match="ENTREPOT_INSECURE_REGISTRIES"):
        asyncio.run(main())


# --- bodies ---


def test_a_blob_broken_off_is_taken_up_by_range(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    layer = layer_of(store)
    upstream.cut(layer.digest, after=100)
    upstream.cut(layer.digest, after=layer.size // 4)
    assert ask(lambda remote: read(remote.read_blob(layer))) == store.blobs[layer.digest]
    ranges = [seen.headers.get("range") for seen in upstream.seen if seen.route == "blob"]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert len(ranges) == 3


def test_a_server_without_ranges_is_read_anew_to_the_place(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    layer = layer_of(store)
    upstream.cut(layer.digest, after=500)

    def whole(seen: Any, good: Any) -> Any:
        if good.status == 206:
            good.status, good.body = 200, store.blobs[layer.digest]
            good.headers = {"content-length": str(layer.size)}
        return good

    upstream.faults.append(whole)
    assert ask(lambda remote: read(remote.read_blob(layer))) == store.blobs[layer.digest]


def test_a_blob_that_always_breaks_at_the_same_place_is_given_up(
    ask: Any, upstream: Upstream, store: MemoryStore
) -> None:
    layer = layer_of(store)
    upstream.cut(layer.digest, after=0, times=100)
    with pytest.raises(RemoteUnavailable, match="after 0 bytes"):
        ask(lambda remote: read(remote.read_blob(layer)))
    assert upstream.counts[("GET", "blob")] < 10


def test_a_blob_longer_than_announced_is_stopped(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    layer = layer_of(store)
    upstream.replace(layer.digest, store.blobs[layer.digest] + b"more")
    with pytest.raises(RemoteCorrupt, match="sent more than"):
        ask(lambda remote: read(remote.read_blob(layer)))


def test_other_bytes_under_a_digest_are_found_out_by_the_copy(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    layer, target = layer_of(store), MemoryStore()
    upstream.replace(layer.digest, bytes(layer.size))
    root = store.manifests[store.tagged["v1"]].descriptor
    with pytest.raises(RemoteCorrupt, match=f"{upstream.host}.*{layer.digest}"):
        ask(lambda remote: copy_graph(remote, target, root))
    assert layer.digest not in target.blobs
    assert not target.manifests


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>not a manifest</html>", "not JSON"),
        (b"[]", "not an object"),
        (b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}', "needs a config"),
        (b" " * (MAX_BYTES + 1), "more than"),
    ],
)
def test_a_manifest_that_is_none_is_told(
    ask: Any, upstream: Upstream, store: MemoryStore, body: bytes, message: str
) -> None:
    digest = store.tagged["v1"]
    upstream.replace(digest, body)
    with pytest.raises(RemoteCorrupt, match=message):
        ask(lambda remote: remote.read_manifest(store.manifests[digest].descriptor))


def test_another_manifest_under_a_digest_is_told(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    digest = store.tagged["v1"]
    other = pack_image(MemoryStore(), [{"other": "file"}])
    upstream.replace(digest, other.raw)
    with pytest.raises(RemoteCorrupt, match=f"sent {other.digest} when asked for manifest {digest}"):
        ask(lambda remote: remote.read_manifest(store.manifests[digest].descriptor))


def test_a_manifest_of_another_size_than_announced_is_told(ask: Any, store: MemoryStore) -> None:
    manifest: Manifest = store.manifests[store.tagged["v1"]]
    wrong = Descriptor(manifest.media_type, manifest.digest, manifest.size + 1)
    with pytest.raises(RemoteCorrupt, match="announced with"):
        ask(lambda remote: remote.read_manifest(wrong))


def test_an_index_with_a_missing_child_is_told(ask: Any, store: MemoryStore) -> None:
    child = pack_image(store, [{"a": "b"}])
    index = pack_index(store, [(child, None)])
    del store.manifests[child.digest]
    target = MemoryStore()
    with pytest.raises(RemoteNotFound, match=child.digest):
        ask(lambda remote: copy_graph(remote, target, index.descriptor))
    assert not target.manifests


def test_referrers_fall_back_to_the_tag(ask: Any, store: MemoryStore) -> None:
    subject = store.tagged["v1"]
    referrer = pack_image(store, [{"sig": "x"}], subject=store.manifests[subject])
    assert ask(lambda remote: remote.referrers(subject)) == []
    index = pack_index(store, [(referrer, None)])
    store.put_tag(subject.replace(":", "-"), index.digest)
    assert [found.digest for found in ask(lambda remote: remote.referrers(subject))] == [referrer.digest]


def test_a_registry_without_referrers_is_asked_once_and_for_listed_fallback_tags_only(
    ask: Any, upstream: Upstream, store: MemoryStore
) -> None:
    subjects = [pack_image(store, [{"file": str(number)}]) for number in range(3)]
    referrer = pack_image(store, [{"sig": "x"}], subject=subjects[1])
    store.put_tag(subjects[1].digest.replace(":", "-"), pack_index(store, [(referrer, None)]).digest)

    async def act(remote: RemoteRepository) -> list[list[str]]:
        await read_tags(remote)
        return [[found.digest for found in await remote.referrers(subject.digest)] for subject in subjects]

    assert ask(act) == [[], [referrer.digest], []]
    assert upstream.counts["GET", "referrers"] == 1
    assert upstream.counts["GET", "manifest"] == 1


def test_a_secret_never_shows_in_an_error(ask: Any, upstream: Upstream) -> None:
    upstream.login = ("user", "s3cret")
    upstream.fail(500)
    with pytest.raises(RemoteError) as caught:
        ask(resolve(), credential=Credential("user", "s3cret"), attempts=1)
    assert "s3cret" not in repr(caught.value)
    assert "s3cret" not in repr(Credential("user", "s3cret", "t0ken"))


def test_what_is_behind_the_last_byte_is_not_asked_for(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    layer = layer_of(store)
    data = store.blobs[layer.digest]
    assert ask(lambda remote: read(remote.read_blob(layer, layer.size - 1))) == data[-1:]
    asked = upstream.counts["GET", "blob"]
    assert ask(lambda remote: read(remote.read_blob(layer, layer.size))) == b""
    assert upstream.counts["GET", "blob"] == asked


def test_a_registry_that_refuses_to_speak_is_told_as_such(ask: Any, upstream: Upstream) -> None:
    upstream.fail(403, route="base")
    with pytest.raises(RemoteUnauthorized, match="/v2/ answered 403: TESTED a fault of the test"):
        ask(resolve())


def test_a_host_without_a_scheme_is_tried_by_tls_once(store: MemoryStore) -> None:
    """However many repositories are spoken to: what it answered by is remembered for the host."""
    firsts: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data = self.request.recv(65536)
            firsts.append(data[:3])
            if data.startswith(b"GET"):
                self.request.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n" + b'{"tags":[]}'
                )

    async def main(host: str) -> None:
        traffic = Traffic()
        for name in ("team/a", "team/b", "team/c"):
            async with RemoteTransport(host, traffic=traffic, options=RemoteOptions(attempts=1)) as transport:
                assert [tag async for tag in RemoteRepository(transport, name).tags()] == []

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        asyncio.run(main(f"127.0.0.1:{server.server_address[1]}"))
        server.shutdown()
    assert len([one for one in firsts if one != b"GET"]) == 1


def test_a_referrers_api_that_is_too_busy_is_none_for_now(ask: Any, upstream: Upstream, store: MemoryStore) -> None:
    subject = store.tagged["v1"]
    referrer = pack_image(store, [{"sig": "x"}], subject=store.manifests[subject])
    store.put_tag(subject.replace(":", "-"), pack_index(store, [(referrer, None)]).digest)
    upstream.fail(429, route="referrers")

    async def act(remote: RemoteRepository) -> list[str]:
        found = [one.digest for one in await remote.referrers(subject)]
        await remote.referrers(subject)
        return [*found, *remote.remarks]

    found = ask(act, attempts=1)
    assert found[0] == referrer.digest
    assert len(found) == 2
    assert "no usable list of referrers" in found[1]
    assert upstream.counts["GET", "referrers"] == 1
