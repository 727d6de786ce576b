"""A login belongs to an origin: servers on other ports, to which the registry leads in every way, record what they are sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteRefused, RemoteUnauthorized
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.auth.keychain import Credential
from oci.remote.network.origin import follow_to, may_hold_login, origin_of
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.receivers import Answer, Received, Receiver, receive
from tests.upstream import Reply, Seen, Upstream

T = TypeVar("T")
Act = Callable[[RemoteRepository], Awaitable[T]]
LOGIN = Credential("user", "s3cret")
BLOB = b"a layer" * 1000


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"layer": BLOB}]).digest)
    return store


@pytest.fixture(params=["basic", "bearer"])
def upstream(store: MemoryStore, request: pytest.FixtureRequest) -> Iterator[Upstream]:
    with Upstream({"team/app": store}) as upstream:
        upstream.login, upstream.bearer = ("user", "s3cret"), request.param == "bearer"
        yield upstream


@pytest.fixture
def elsewhere() -> Iterator[Receiver]:
    with receive() as receiver:
        yield receiver


def ask(upstream: Upstream, act: Act[T], credential: Credential | None = LOGIN, **options: Any) -> T:
    async def main() -> T:
        async with RemoteTransport(
            upstream.host, options=RemoteOptions(attempts=1, **options), find_credential=lambda: credential
        ) as transport:
            return await act(RemoteRepository(transport, "team/app"))

    return asyncio.run(main())


def layer_of(store: MemoryStore) -> Descriptor:
    return store.manifests[store.tagged["v1"]].layers[0]


def read_layer(store: MemoryStore) -> Act[bytes]:
    async def act(remote: RemoteRepository) -> bytes:
        return b"".join([chunk async for chunk in remote.read_blob(layer_of(store))])

    return act


def saw_nothing(elsewhere: Receiver) -> bool:
    """Whether neither the login, in any form, nor a token of the registry's came here."""
    shown = "".join(f"{one.path}{one.headers}{one.body!r}" for one in elsewhere.received)
    return not any(text in shown for text in ("s3cret", "dXNlcjpzM2NyZXQ", "token-", "Basic"))


def answering(challenge: str, body: bytes, token: str = "") -> Callable[[Received], Answer]:
    """Wants a token; at /own-token it gives one to anybody."""

    def answer(one: Received) -> Answer:
        if one.path.startswith("/own-token"):
            return 200, {}, json.dumps({"token": "anonymous"}).encode()
        if one.headers.get("authorization") != (f"Bearer {token}" if token else None):
            return 401, {"WWW-Authenticate": challenge}, b""
        return 200, {}, body

    return answer


def test_a_redirect_takes_no_login_along(upstream: Upstream, store: MemoryStore, elsewhere: Receiver) -> None:
    upstream.redirect("blob", elsewhere.url)
    elsewhere.answer = lambda _one: (200, {}, store.blobs[layer_of(store).digest])
    assert ask(upstream, read_layer(store)) == store.blobs[layer_of(store).digest]
    assert elsewhere.received
    assert saw_nothing(elsewhere)


def test_a_target_that_wants_a_token_gets_an_anonymous_one_of_its_own(
    upstream: Upstream, store: MemoryStore, elsewhere: Receiver
) -> None:
    upstream.redirect("blob", elsewhere.url)
    realm = f'Bearer realm="{elsewhere.url}/own-token",service="cdn"'
    elsewhere.answer = answering(realm, store.blobs[layer_of(store).digest], "anonymous")
    assert ask(upstream, read_layer(store)) == store.blobs[layer_of(store).digest]
    assert saw_nothing(elsewhere)


def test_a_target_that_names_a_token_service_does_not_get_the_login_sent_there(
    upstream: Upstream, store: MemoryStore, elsewhere: Receiver
) -> None:
    """Nor does its challenge stay: the registry is asked with its own afterwards."""
    upstream.redirect("blob", elsewhere.url)
    elsewhere.answer = answering(f'Bearer realm="{elsewhere.url}/own-token"', b"", "never")

    async def act(remote: RemoteRepository) -> None:
        with pytest.raises(RemoteUnauthorized, match="wants a login of its own"):
            await read_layer(store)(remote)
        await remote.resolve("v1")

    ask(upstream, act)
    assert saw_nothing(elsewhere)


@pytest.mark.parametrize("challenge", ['Basic realm="cdn"', ""])
def test_a_target_that_asks_for_a_login_is_told_as_such(
    upstream: Upstream, store: MemoryStore, elsewhere: Receiver, challenge: str
) -> None:
    upstream.redirect("blob", elsewhere.url)
    elsewhere.answer = answering(challenge, b"", "never")
    with pytest.raises(RemoteUnauthorized, match="that of the registry is not sent there"):
        ask(upstream, read_layer(store))
    assert saw_nothing(elsewhere)


def test_the_answer_of_a_target_to_the_first_question_says_nothing_of_the_registry(
    upstream: Upstream, elsewhere: Receiver
) -> None:
    upstream.redirect("base", elsewhere.url)
    elsewhere.answer = answering(f'Bearer realm="{elsewhere.url}/own-token"', b"", "never")
    ask(upstream, lambda remote: remote.resolve("v1"))
    assert saw_nothing(elsewhere)


@pytest.mark.parametrize("place", ["host", "port"])
def test_an_upload_address_elsewhere_takes_no_login(
    upstream: Upstream, store: MemoryStore, elsewhere: Receiver, place: str
) -> None:
    where = elsewhere.url if place == "port" else elsewhere.url.replace("127.0.0.1", "localhost")

    def opens(seen: Seen, good: Reply) -> Reply | None:
        opened = seen.method == "POST" and good.status != 401
        return Reply(202, b"", {"location": f"{where}/upload/1?state=x#part"}) if opened else None

    upstream.faults.append(opens)
    elsewhere.answer = lambda _one: (201, {}, b"")

    async def act(remote: RemoteRepository) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield BLOB

        await remote.write_blob(Descriptor("application/octet-stream", Digest.of(BLOB), len(BLOB)), chunks())

    ask(upstream, act)
    assert [one.method for one in elsewhere.received] == ["PUT"]
    assert "#" not in elsewhere.received[0].path
    assert elsewhere.received[0].path.startswith("/upload/1?state=x&digest=")
    assert saw_nothing(elsewhere)


@pytest.mark.parametrize("credential", [LOGIN, Credential("", "", "refresh-s3cret")])
def test_a_token_service_that_redirects_loses_the_login(
    store: MemoryStore, elsewhere: Receiver, credential: Credential
) -> None:
    with Upstream({"team/app": store}) as upstream:
        upstream.login, upstream.bearer = ("user", "s3cret"), True
        upstream.faults.append(
            lambda seen, _good: Reply(307, b"", {"location": f"{elsewhere.url}/t"}) if seen.route == "token" else None
        )
        with pytest.raises((RemoteRefused, RemoteUnauthorized), match="token service"):
            ask(upstream, lambda remote: remote.resolve("v1"), credential)
    assert not elsewhere.received


def test_a_token_for_anybody_may_come_from_where_the_token_service_sends_us(
    store: MemoryStore, elsewhere: Receiver
) -> None:
    with Upstream({"team/app": store}) as upstream:
        upstream.login, upstream.bearer = ("user", "s3cret"), True
        upstream._tokens["given"] = float("inf")
        upstream.faults.append(
            lambda seen, _good: Reply(307, b"", {"location": f"{elsewhere.url}/t"}) if seen.route == "token" else None
        )
        elsewhere.answer = lambda _one: (200, {}, b'{"token":"given"}')
        ask(upstream, lambda remote: remote.resolve("v1"), None)
    assert elsewhere.received


def test_secret_headers_of_the_record_stay_with_the_registry(
    upstream: Upstream, store: MemoryStore, elsewhere: Receiver
) -> None:
    upstream.redirect("blob", elsewhere.url)
    elsewhere.answer = lambda _one: (200, {}, store.blobs[layer_of(store).digest])
    ask(upstream, read_layer(store), headers=(("X-Key", "k-s3cret"),))
    assert all(seen.headers.get("x-key") == "k-s3cret" for seen in upstream.seen)
    assert saw_nothing(elsewhere)


def test_a_redirect_that_comes_back_is_answered_as_the_registry_is(upstream: Upstream, store: MemoryStore) -> None:
    with receive() as there:
        upstream.faults.append(
            lambda seen, _good: (
                Reply(307, b"", {"location": f"{there.url}{seen.path}"})
                if seen.route == "blob" and not seen.query
                else None
            )
        )
        there.answer = lambda one: (307, {"Location": f"http://{upstream.host}{one.path}?back"}, b"")
        assert ask(upstream, read_layer(store)) == store.blobs[layer_of(store).digest]
        assert saw_nothing(there)


# --- the rules ---


def test_addresses_are_followed_without_logins_of_their_own_and_never_down_to_plain_http() -> None:
    base = httpx.URL("https://registry.example/v2/")

    def to(location: str) -> str:
        return str(follow_to(base, location, registry="registry.example", what="redirects to"))

    assert to("/v2/x?a=b#c") == "https://registry.example/v2/x?a=b"
    assert to("https://user:secret@cdn.example/x") == "https://cdn.example/x"
    assert to("//cdn.example/x") == "https://cdn.example/x"
    for bad in ("http://registry.example/x", "ftp://cdn.example/", "file:///etc/passwd", "https://[::1"):
        with pytest.raises(RemoteRefused):
            to(bad)


@pytest.mark.parametrize(
    ("realm", "registry", "is_login", "may"),
    [
        ("https://auth.example/token", "https://registry.example", True, True),
        ("https://auth.example/token", "http://registry.example", True, True),
        ("http://auth.example/token", "https://registry.example", False, False),
        ("http://registry.example/token", "https://registry.example", True, False),
        ("http://auth.example/token", "http://registry.example", True, False),
        ("http://auth.example/token", "http://registry.example", False, True),
        ("http://registry.example:5001/token", "http://registry.example", True, True),
        ("http://named.example:5001/token", "http://registry.example", True, True),
    ],
)
def test_a_login_goes_over_plain_http_to_the_registry_s_own_token_service_alone(
    realm: str, registry: str, *, is_login: bool, may: bool
) -> None:
    found = may_hold_login(httpx.URL(realm), httpx.URL(registry), ("named.example:5001",), is_login=is_login)
    assert found == may


def test_an_origin_is_scheme_host_and_port() -> None:
    origins = {str(origin_of(httpx.URL(one))) for one in ("https://a.example", "https://a.example:443/x?y")}
    assert origins == {"https://a.example"}
    others = ("http://a.example", "https://a.example:8443", "https://b.a.example", "https://[::1]:5000")
    assert len({*origins, *(str(origin_of(httpx.URL(one))) for one in others)}) == 5
