"""Nobody whom we ask, and nobody whom we tell, leads us into an internal network; and caches do not ask themselves.

127.0.0.2 stands for a service within; 127.0.0.1, where the upstream is, counts as a public address where `public` is asked for.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from catalog.webhooks.delivery import open_receivers
from catalog.webhooks.records import EventRecords, Subscription, read_record
from oci.descriptor import Descriptor
from oci.errors import RemoteError, RemoteRefused, RemoteUnauthorized, RemoteUnavailable
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.network import reach
from oci.remote.network.backends import GuardedBackend, set_backend
from oci.remote.network.hops import Hops, parse_via
from oci.remote.network.reach import Address, Reach, address_kind, is_named, literal_address
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from registry_api.auth.issuer_keys import identity_client
from registry_api.auth.oidc_tokens import IdentityTokens
from tests.api.conftest import Api, serve
from tests.receivers import Receiver, receive
from tests.servers import wait_until
from tests.upstream import Reply, Route, Upstream

WORDS = "the words of an internal service"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    real = address_kind
    monkeypatch.setattr(
        reach, "address_kind", lambda address: "public" if str(address) == "127.0.0.1" else real(address)
    )


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"layer": b"layer"}]).digest)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({"team/app": store}) as upstream:
        yield upstream


@pytest.fixture
def within() -> Iterator[Receiver]:
    body = f'{{"errors":[{{"code":"DENIED","message":"{WORDS}"}}],"tags":["secret"]}}'.encode()
    with receive(lambda _one: (200, {"Content-Type": "application/json"}, body), host="127.0.0.2") as receiver:
        yield receiver


async def list_tags(remote: RemoteRepository) -> list[str]:
    return [tag async for tag in remote.tags()]


def ask(host: str, act: Callable[[RemoteRepository], Any], **options: Any) -> Any:
    async def main() -> Any:
        async with RemoteTransport(host, options=RemoteOptions(attempts=1, **options)) as transport:
            return await act(RemoteRepository(transport, "team/app"))

    return asyncio.run(main())


# --- the rules ---


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", "public"), ("2606:4700::1111", "public"),
        ("10.1.2.3", "private"), ("172.16.0.1", "private"), ("192.168.1.1", "private"), ("100.64.0.1", "private"),
        ("fd00:ec2::254", "private"), ("fec0::1", "private"),
        ("127.0.0.1", "loopback"), ("127.1", "loopback"), ("2130706433", "loopback"), ("0x7f.1", "loopback"),
        ("017700000001", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"), ("::127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"), ("2002:7f00:1::", "loopback"),
        ("169.254.169.254", "link-local"), ("0xa9fea9fe", "link-local"), ("fe80::1%eth0", "link-local"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("0.0.0.0", "unusable"), ("0", "unusable"), ("::", "unusable"), ("224.0.0.1", "unusable"), ("ff02::1", "unusable"),
        ("255.255.255.255", "unusable"), ("240.0.0.1", "unusable"),
    ],
)  # fmt: skip
def test_where_an_address_is_in_whatever_form_it_is_written(text: str, kind: str) -> None:
    address = literal_address(text)
    assert address is not None
    assert address_kind(address) == kind


def test_what_is_named_is_a_host_a_glob_an_address_or_a_network() -> None:
    allowed = ("minio.corp.example", "*.cluster.local", "10.1.0.0/16", "192.168.1.7", "::1")
    for host in ("minio.corp.example", "MinIO.corp.example.", "a.b.cluster.local", "10.1.9.9", "192.168.1.7", "[::1]"):
        assert is_named(host, allowed), host
    for host in (
        "corp.example",
        "xminio.corp.example",
        "cluster.local",
        "10.2.0.1",
        "192.168.1.70",
        "registry.example",
    ):
        assert not is_named(host, allowed), host


@pytest.mark.parametrize(
    ("home", "host", "may"),
    [
        ("registry.example", "8.8.8.8", True),
        *(("registry.example", one, False) for one in ("10.0.0.1", "localhost", "x.localhost.", "127.1", "[::1]", "0")),
        ("10.0.0.1:5000", "10.0.0.2", True),
        ("10.0.0.1:5000", "127.0.0.1", False),
        ("10.0.0.1:5000", "169.254.169.254", False),
        ("localhost:5000", "127.0.0.1", True),
        ("localhost:5000", "10.0.0.2", True),
        ("127.0.0.1:5000", "169.254.169.254", False),
        ("127.0.0.1:5000", "0.0.0.0", False),
        ("[::1]:5000", "127.0.0.1", True),
    ],
)  # fmt: skip
def test_an_upstream_within_may_lead_to_its_like(home: str, host: str, *, may: bool) -> None:
    judge = Reach(home)
    if may:
        judge.check_name(host)
    else:
        with pytest.raises(RemoteRefused, match="ENTREPOT_INTERNAL_HOSTS"):
            judge.check_name(host)
        Reach(home, [host.strip("[].").lower() if literal_address(host) is None else host]).check_name(host)


def addresses(*texts: str) -> Sequence[Address]:
    return [ipaddress.ip_address(text) for text in texts]


@pytest.mark.anyio
async def test_a_name_is_looked_up_and_what_it_leads_to_is_judged() -> None:
    known = {"inner.example": addresses("10.0.0.1"), "mixed.example": addresses("10.0.0.1", "8.8.8.8")}

    async def resolve(host: str, _port: int) -> Sequence[Address]:
        return known[host]

    judge = Reach("registry.example", resolve=resolve)
    with pytest.raises(RemoteRefused):
        await judge.addresses("inner.example", 443)
    assert await judge.addresses("mixed.example", 443) == addresses("8.8.8.8")
    assert await Reach("registry.example", ["inner.example"], resolve=resolve).addresses("inner.example", 443)
    judge.met("10.0.0.9")  # the registry itself turns out to be within
    assert await judge.addresses("inner.example", 443)


@pytest.mark.parametrize(
    "order", [("8.8.8.8", "127.0.0.1"), ("127.0.0.1", "8.8.8.8"), ("127.0.0.1", "8.8.8.8", "127.0.0.1")]
)
def test_a_registry_that_has_its_name_lead_within_for_a_moment_opens_nothing(order: Sequence[str]) -> None:
    judge = Reach("registry.example")
    for address in order:
        judge.met(address)
    for within in ("127.0.0.1", "10.0.0.1", "169.254.169.254"):
        with pytest.raises(RemoteRefused):
            judge.check_name(within)
    judge.check_name("8.8.4.4")


@pytest.mark.anyio
async def test_a_name_that_leads_elsewhere_the_second_time_is_connected_to_where_it_led_first(
    public: None, within: Receiver
) -> None:
    answers = [addresses("127.0.0.1"), addresses("127.0.0.2"), addresses("127.0.0.2")]

    async def resolve(_host: str, _port: int) -> Sequence[Address]:
        return answers.pop(0)

    judge = Reach("registry.example", resolve=resolve)
    port = within.url.rpartition(":")[2]
    with receive() as outside:
        async with httpx.AsyncClient(trust_env=False) as client:
            set_backend(client, GuardedBackend(judge))
            assert (await client.get(f"http://rebound.example:{outside.url.rpartition(':')[2]}/")).status_code == 200
            with pytest.raises(RemoteRefused):
                await client.get(f"http://rebound.example:{port}/")
    assert not within.received


# --- upstreams ---


@pytest.mark.parametrize("route", ["base", "tags", "manifest", "blob", "referrers"])
def test_a_redirect_into_the_network_is_not_followed(
    public: None, upstream: Upstream, within: Receiver, store: MemoryStore, route: Route
) -> None:
    upstream.has_referrers = True
    upstream.redirect(route, within.url)
    layer = store.manifests[store.tagged["v1"]].layers[0]
    acts: list[Callable[[RemoteRepository], Any]] = [
        list_tags,
        lambda remote: remote.resolve("v1"),
        lambda remote: anext(remote.read_blob(layer)),
        lambda remote: remote.referrers(layer.digest),
        lambda remote: remote.offers(layer.digest),
        lambda remote: remote.has(Descriptor("application/octet-stream", layer.digest, layer.size)),
    ]
    for act in acts:
        with suppress(RemoteError):  # or, of the two ways to the same end, the other one is taken
            assert "secret" not in str(ask(upstream.host, act))
    assert not within.received


def test_where_the_host_is_named_a_redirect_is_followed(public: None, upstream: Upstream, within: Receiver) -> None:
    upstream.redirect("tags", within.url)
    with pytest.raises(RemoteRefused, match="sends us to 127\\.0\\.0\\.2, an address of an internal network"):
        ask(upstream.host, list_tags)
    assert ask(upstream.host, list_tags, internal_hosts=("127.0.0.2",)) == ["secret"]


def test_a_token_service_or_an_upload_address_within_is_not_asked(
    public: None, upstream: Upstream, within: Receiver
) -> None:
    upstream.login, upstream.bearer = ("user", "pass"), True
    upstream.fail(401, only="/v2/", www_authenticate=f'Bearer realm="{within.url}/token"')
    with pytest.raises(RemoteRefused, match="internal network"):
        ask(upstream.host, list_tags)
    upstream.faults.clear()
    upstream.login = None
    upstream.faults.append(
        lambda seen, _good: Reply(202, b"", {"location": f"{within.url}/u"}) if seen.method == "POST" else None
    )

    async def push(remote: RemoteRepository) -> None:
        memory = MemoryStore()
        config = pack_image(memory, [{"a": "b"}]).config
        assert config is not None
        await remote.write_blob(config, memory.read_blob(config))

    with pytest.raises(RemoteRefused, match="internal network"):
        ask(upstream.host, push)
    assert not within.received


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/", "http://0.0.0.0:1/", "http://0xa9fea9fe/", "http://[::]/"]
)
def test_even_an_upstream_on_this_machine_leads_to_no_metadata_service(upstream: Upstream, url: str) -> None:
    upstream.redirect("tags", url.rstrip("/"))
    with pytest.raises(RemoteRefused, match="internal network"):
        ask(upstream.host, list_tags)


def test_no_words_of_another_host_are_passed_on(upstream: Upstream, within: Receiver) -> None:
    """This upstream is on this machine, and so may lead to others there."""
    within.answer = lambda _one: (403, {}, f'{{"errors":[{{"code":"X","message":"{WORDS}"}}]}}'.encode())
    upstream.redirect("tags", within.url)
    with pytest.raises(RemoteUnauthorized, match=r"answered 403: sent on to 127\.0\.0\.2$"):
        ask(upstream.host, list_tags)
    upstream.faults.clear()
    upstream.fail(403, route="tags")
    with pytest.raises(RemoteUnauthorized, match="TESTED a fault of the test"):
        ask(upstream.host, list_tags)


def test_an_anonymous_client_of_a_cache_learns_nothing_of_the_network(
    public: None, upstream: Upstream, within: Receiver, tmp_path: Path
) -> None:
    for route in ("tags", "manifest"):
        upstream.redirect(route, within.url)
    with serve(tmp_path / "entrepot", upstream_attempts=1, internal_hosts="") as api:
        cached(api, f"http://{upstream.host}")
        for what in ("tags/list", "manifests/v1"):
            answer = api.anybody.get(f"/v2/cache/team/app/{what}")
            assert answer.status_code == 502
            assert WORDS not in answer.text
            assert "secret" not in answer.text
    assert not within.received


# --- caches of each other ---


def cached(api: Api, remote: str) -> None:
    cache = Distribution("cache", "", NOW, NOW, remote=remote)
    api.catalog.distributions.put(cache, actor="admin")


def test_a_cache_of_itself_says_so_at_once(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        cached(api, f"http://127.0.0.1:{api.port}/cache")
        for what in ("manifests/v1", "tags/list", f"manifests/sha256:{'a' * 64}"):
            answer = api.anybody.get(f"/v2/cache/team/app/{what}")
            assert answer.status_code == 508, answer.text
            assert "this registry itself, or a cache of it" in answer.text


def test_caches_of_each_other_say_so_at_once(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(serve(tmp_path / name / "entrepot")) for name in ("a", "b", "c"))
        cached(first, f"http://127.0.0.1:{second.port}/cache")
        cached(second, f"http://127.0.0.1:{third.port}/cache")
        cached(third, f"http://127.0.0.1:{first.port}/cache")
        answer = first.anybody.get("/v2/cache/team/app/manifests/v1")
        assert answer.status_code == 508, answer.text
        assert "has come round" in answer.text


def test_caches_behind_each_other_work(tmp_path: Path, upstream: Upstream, store: MemoryStore) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(serve(tmp_path / name / "entrepot")) for name in ("a", "b"))
        cached(first, f"http://127.0.0.1:{second.port}/cache")
        cached(second, f"http://{upstream.host}")
        assert first.anybody.get("/v2/cache/team/app/manifests/v1").status_code == 200
        layer = store.manifests[store.tagged["v1"]].layers[0]
        assert first.anybody.get(f"/v2/cache/team/app/blobs/{layer.digest}").status_code == 200
    via = {seen.headers.get("via", "") for seen in upstream.seen}
    assert len(via) == 1
    assert next(iter(via)).count("entrepot-") == 2


def test_via_is_read_among_what_proxies_add() -> None:
    marks = "a" * 16, "b" * 16
    value = (
        f"1.1 entrepot-{marks[0]}, 1.1 varnish (x), HTTP/1.1 entrepot-{marks[1].upper()}, 1.0 other-entrepot-{'c' * 16}"
    )
    assert parse_via(value, "d" * 16) == Hops("d" * 16, marks)
    assert Hops("d" * 16, marks).via == ", ".join(f"1.1 entrepot-{one}" for one in (*marks, "d" * 16))


# --- subscriptions ---


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "169.254.169.254", "2130706433", "[::ffff:10.0.0.1]", "0"])
def test_a_subscription_by_http_leads_to_no_internal_address(own: Api, host: str) -> None:
    made = own.admin.post("/api/v1/subscriptions", json={"url": f"http://{host}:8080/x"})
    assert made.status_code == 400
    assert "ENTREPOT_INTERNAL_HOSTS" in made.text
    assert made.json()["errors"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve(tmp_path_factory.mktemp("registry") / "entrepot", internal_hosts="") as running:
        yield running


def test_nor_by_a_name_that_leads_there(own: Api, within: Receiver) -> None:
    """The name is looked up when something is told."""
    settings = read_settings(home=own.catalog.settings.home)
    port = within.url.rpartition(":")[2]
    made = read_record(
        Subscription,
        {"id": "a", "url": f"http://inner.example:{port}/x", "created_at": NOW, "internal": False},
    )

    async def tell(subscription: Subscription) -> None:
        receivers = open_receivers(settings)

        async def resolve(_host: str, _port: int) -> Sequence[Address]:
            return addresses("127.0.0.2")

        receivers.reach._resolve = resolve
        try:
            await receivers.deliver(subscription, b"{}")
        finally:
            await receivers.close()

    with pytest.raises(RemoteRefused, match="internal network"):
        asyncio.run(tell(made))
    assert not within.received


def test_subscriptions_made_before_or_on_this_machine_are_told_as_they_were(within: Receiver, tmp_path: Path) -> None:
    record = {"id": "a", "url": f"{within.url}/x", "created_at": NOW.isoformat()}
    kept = EventRecords.model_validate({"subscriptions": {"a": record}}).subscriptions["a"]

    async def tell() -> None:
        receivers = open_receivers(read_settings(home=tmp_path))
        await receivers.deliver(kept, b"{}")
        await receivers.close()

    asyncio.run(tell())
    wait_until(lambda: bool(within.received), 5, "it was told")


# --- issuers of identity tokens ---


@pytest.mark.parametrize("host", ["keys.example", "127.0.0.2"])
def test_an_issuer_s_keys_are_not_looked_for_within(
    public: None, within: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str
) -> None:
    port, real = within.url.rpartition(":")[2], socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda name, *rest, **more: real("127.0.0.2" if "keys.example" in str(name) else name, *rest, **more),
    )
    settings = read_settings(home=tmp_path)

    def configuration(_one: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, f'{{"issuer":"{issuer.url}","jwks_uri":"https://{host}:{port}/keys"}}'.encode()

    with receive(configuration) as issuer:
        tokens = IdentityTokens(lambda: identity_client(settings))
        with pytest.raises(RemoteUnavailable, match="internal network"):
            asyncio.run(tokens._request_keys(issuer.url))
        named = IdentityTokens(lambda: identity_client(settings), internal=(host,))
        with pytest.raises(RemoteUnavailable, match="cannot read"):  # reached, and no TLS there
            asyncio.run(named._request_keys(issuer.url))
