"""What a request says of itself: heeded of trusted proxies alone, and never the reason to send a login elsewhere."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.settings import read_settings
from oci.errors import SettingsInvalid
from registry_api.http.forwarded import Hop, TrustedProxies, parse_forwarded, parse_x_forwarded, read_networks
from registry_api.http.hosts import Hosts, is_cross_origin
from tests.api.conftest import Api, serve, simple_manifest

PROXY, OUTER, CLIENT = "10.0.0.1", "10.0.0.2", "203.0.113.9"


def scope_of(peer: str = PROXY, server: str = "10.0.0.5", host: str = "inner:5080", **headers: str) -> dict[str, Any]:
    pairs = [(b"host", host.encode("latin-1"))]
    pairs += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "scheme": "http", "client": (peer, 40_000), "server": (server, 5080), "headers": pairs}


def heeded(scope: dict[str, Any]) -> tuple[str, str, str]:
    found = TrustedProxies(read_networks(["10.0.0.0/24", "::1"])).apply(scope)
    return found["client"][0], found["scheme"], dict(found["headers"])[b"host"].decode("latin-1")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "https", "x_forwarded_host": "r.example"},
         (CLIENT, "https", "r.example")),
        ({"x_forwarded_for": f"1.1.1.1, {CLIENT}", "x_forwarded_proto": "https"}, (CLIENT, "https", "inner:5080")),
        ({"x_forwarded_for": f"{CLIENT}, {OUTER}", "x_forwarded_proto": "https, http", "x_forwarded_host": "r.example"},
         (CLIENT, "https", "r.example")),
        ({"x_forwarded_for": f"1.1.1.1, {CLIENT}", "x_forwarded_proto": "http, https", "x_forwarded_host": "evil, r.example"},
         (CLIENT, "https", "r.example")),
        ({"x_forwarded_for": "1.1.1.1, unknown", "x_forwarded_proto": "https"}, (PROXY, "https", "inner:5080")),
        ({"x_forwarded_proto": "https"}, (PROXY, "https", "inner:5080")),
        ({"x_forwarded_proto": "gopher", "x_forwarded_host": 'a"b', "x_forwarded_for": CLIENT},
         (CLIENT, "http", "inner:5080")),
        ({"forwarded": f'for={CLIENT};proto=https;host="r.example:8443"'}, (CLIENT, "https", "r.example:8443")),
        ({"forwarded": f'for="{CLIENT}:99";proto=https', "x_forwarded_for": f"1.1.1.1, {CLIENT}"},
         (CLIENT, "https", "inner:5080")),
        ({"forwarded": f'for=1.1.1.1, for="[2001:db8::7]:99";proto=https, for={OUTER};host=inside'},
         ("2001:db8::7", "https", "inside")),
        ({"forwarded": "for=_hidden;proto=https"}, (PROXY, "https", "inner:5080")),
        ({"forwarded": 'for="unended;proto=https'}, (PROXY, "http", "inner:5080")),
        ({"x_forwarded_for": "::ffff:203.0.113.9"}, (CLIENT, "http", "inner:5080")),
    ],
)  # fmt: skip
def test_what_a_trusted_proxy_says(headers: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert heeded(scope_of(**headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"forwarded": "for=1.1.1.1;host=evil", "x_forwarded_for": CLIENT, "x_forwarded_host": "r.example"},
        {"forwarded": "for=1.1.1.1", "x_forwarded_proto": "https"},
        {"forwarded": f"for={CLIENT}", "x_forwarded_for": "1.1.1.1"},
        {"forwarded": "made up", "x_forwarded_for": CLIENT},
    ],
)
def test_two_forms_that_contradict_each_other_are_not_heeded(headers: dict[str, str]) -> None:
    """A proxy that writes the one passes on the other: nginx sets X-Forwarded-For, and lets a client's Forwarded through."""
    assert heeded(scope_of(**headers)) == (PROXY, "http", "inner:5080")


@pytest.mark.parametrize("peer", [CLIENT, "", "10.0.1.1", "::2"])
def test_what_others_say_is_not_heeded(peer: str) -> None:
    said = scope_of(
        peer, x_forwarded_for="1.1.1.1", x_forwarded_proto="https", x_forwarded_host="evil", forwarded="for=2.2.2.2"
    )
    assert TrustedProxies(read_networks(["10.0.0.0/24", "::1"])).apply(said) is said
    assert TrustedProxies([]).apply(scope_of(x_forwarded_for="1.1.1.1"))["client"][0] == PROXY


def test_requests_of_several_clients_are_kept_apart() -> None:
    proxies = TrustedProxies(read_networks(["10.0.0.0/24"]))
    long = ", ".join(["1.1.1.1"] * 200 + [CLIENT])
    said = [("1.1.1.1", "https"), (CLIENT, "https"), ("1.1.1.1", "http"), ("1.1.1.1", "https"), (long, "https")]
    scopes = [proxies.apply(scope_of(x_forwarded_for=text, x_forwarded_proto=scheme)) for text, scheme in said]
    assert [(scope["client"][0], scope["scheme"]) for scope in scopes] == [*said[:4], (CLIENT, "https")]
    split = scope_of(x_forwarded_for="1.1.1.1")
    split["headers"].append((b"x-forwarded-for", CLIENT.encode()))
    assert proxies.apply(split)["client"][0] == CLIENT


def test_forms_of_the_headers() -> None:
    assert parse_forwarded('For="a\\"b,c;d" ; Host=x,for=y') == [Hop('a"b,c;d', "", "x"), Hop("y")]
    assert parse_forwarded("nothing") is None
    assert parse_x_forwarded("", "", "") == []
    assert len(parse_x_forwarded(", ".join(["1.1.1.1"] * 10_000), "https", "")) == 50


@pytest.mark.timeout(20)
@pytest.mark.parametrize("before", ["", "for=", "for"])
def test_a_malformed_header_is_read_in_one_pass(before: str) -> None:
    assert parse_forwarded(f'{before}{" " * 1_000_000}"a"x') is None


def base_of(home: Path, scope: dict[str, Any], **settings: object) -> str | None:
    return Hosts(read_settings(home=home, **settings)).base_url(scope)


@pytest.mark.parametrize(
    ("server", "host", "settings", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:5080", {}, "http://127.0.0.1:5080"),
        ("127.0.0.1", "localhost:9999", {}, "http://localhost:9999"),
        ("127.0.0.1", "[::1]:5080", {}, "http://[::1]:5080"),
        ("192.0.2.7", "192.0.2.7:5080", {}, "http://192.0.2.7:5080"),
        ("192.0.2.7", "192.0.2.8:5080", {}, None),
        ("192.0.2.7", "127.0.0.1:5080", {}, None),
        ("127.0.0.1", "evil.example", {}, None),
        ("127.0.0.1", "127.0.0.1.evil.example", {}, None),
        ("127.0.0.1", 'localhost:1"x', {}, None),
        ("127.0.0.1", "", {}, None),
        ("10.0.0.5", "r.example:5080", {"hosts": "r.example, *.lan"}, "http://r.example:5080"),
        ("10.0.0.5", "box.lan", {"hosts": "r.example, *.lan"}, "http://box.lan"),
        ("10.0.0.5", "a.box.lan", {"hosts": "r.example, *.lan"}, None),
        ("10.0.0.5", "any.example", {"hosts": "*"}, "http://any.example"),
        ("10.0.0.5", "evil.example", {"public_url": "https://r.example/"}, "https://r.example"),
    ],
)
def test_by_which_names_clients_reach_us(
    tmp_path: Path, server: str, host: str, settings: dict[str, object], expected: str | None
) -> None:
    assert base_of(tmp_path, scope_of(CLIENT, server, host), **settings) == expected


def test_hints_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hosts = Hosts(read_settings(home=tmp_path))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert hosts.base_url(scope_of(PROXY, "10.0.0.5", "10.0.0.5", x_forwarded_proto="https")) is None
            assert hosts.base_url(scope_of(CLIENT, "10.0.0.5", "made.up")) is None
        for number in range(100):
            hosts.base_url(scope_of(CLIENT, "10.0.0.5", f"made-up-{number}"))
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) <= 20
    assert [text for text in texts if f"ENTREPOT_TRUSTED_PROXIES={PROXY}" in text] == texts[:1]
    assert len([text for text in texts if "host=made.up;" in text]) == 1


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="ENTREPOT_TRUSTED_PROXIES"):
        read_settings(home=tmp_path, trusted_proxies="10.0.0.1/8")


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serve(tmp_path_factory.mktemp("proxied") / "entrepot", trusted_proxies="127.0.0.1") as api:
        api.put_manifest("open/app", "v1", simple_manifest(api, "open/app"))
        yield api


def test_a_challenge_behind_a_trusted_proxy_names_what_the_client_used(proxied: Api) -> None:
    said = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "r.example"}
    answer = proxied.anybody.get("/v2/", headers=said)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="https://r.example/token"')
    with proxied.client(("ghost", "wrong password")) as ghost:
        assert ghost.get("/v2/", headers=said).status_code == 401
    proxied.catalog.events.flush(lambda: datetime.now(UTC))
    assert {one.address for one in proxied.catalog.events.latest(action="login")} == {CLIENT}


def test_an_unknown_name_is_asked_for_basic_and_can_log_in(proxied: Api) -> None:
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example", "X-Original-Host": "x"}):
        answer = proxied.anybody.get("/v2/", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "evil" not in str(answer.headers)
        assert proxied.admin.get("/v2/", headers=headers).status_code == 200
        assert proxied.anybody.get("/v2/open/app/manifests/v1", headers=headers).status_code == 200


def test_the_addresses_of_one_ipv6_customer_share_what_they_may_ask(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", trusted_proxies="127.0.0.1", request_rate=1) as api:
        for path in ("/v2/", "/token", "/api/v1/repositories"):
            of_one = [
                api.anybody.get(path, headers={"X-Forwarded-For": f"2001:db8:0:{len(path)}::{number:x}"}).status_code
                for number in range(30)
            ]
            other = api.anybody.get(path, headers={"X-Forwarded-For": f"2001:db8:1:{len(path)}::1"}).status_code
            assert (of_one[-1], 429 in of_one[:9], other == 429) == (429, False, False), path


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://{host}.evil.example"}, True),
        ({"Origin": "http://{host}"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://{host}"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy.example"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
    ],
)
def test_a_page_of_another_origin_changes_nothing_with_a_browser_s_logins(
    proxied: Api, headers: dict[str, str], *, refused: bool
) -> None:
    """A form or a simple request needs no leave of ours, and the browser adds the login that it remembers for us."""
    given = {name: value.format(host=f"127.0.0.1:{proxied.port}") for name, value in headers.items()}
    assert proxied.admin.get("/v2/open/app/tags/list", headers=given).status_code == 200
    for path, others in (("/v2/open/app/blobs/uploads/", 202), ("/token", 400), ("/api/v1/restore/open/app", 400)):
        answer = proxied.admin.post(path, headers=given)
        assert answer.status_code == (403 if refused else others), path


def test_pages_at_the_address_of_the_settings_may_change_things() -> None:
    scope = {**scope_of(host="inner:5080", origin="https://r.example"), "method": "POST"}
    assert is_cross_origin(scope)
    assert not is_cross_origin(scope, "https://R.example/")
