"""Records of remotes as they are used: a change counts for the next request of a registry that runs."""

import json
import os
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.distributions.records import Distribution
from catalog.remotes.records import RemoteRecord
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, codes, serve
from tests.api.test_identity_tokens import make_client
from tests.forward_proxy import forward_proxy
from tests.mirror import mirror
from tests.servers import Certificate
from tests.upstream import Upstream

NAME = "team/app"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for tag in ("v1", "v2", "v3"):
        store.put_tag(tag, pack_image(store, [{"file": tag}]).digest)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as running:
        yield running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serve(tmp_path / "entrepot", upstream_attempts=1, read_timeout=5) as running:
        yield running


def cache(api: Api, upstream: Upstream) -> None:
    made = Distribution("cache", "", NOW, NOW, remote=upstream.host, fresh_seconds=3600)
    api.catalog.distributions.put(made, actor="admin")


def put(api: Api, upstream: Upstream, code: int = 200, **fields: object) -> dict[str, object]:
    answer = api.admin.put(f"/api/v1/remotes/{upstream.host}", json=fields)
    assert answer.status_code == code, answer.text
    return dict(answer.json())


def pull(api: Api, tag: str) -> int:
    return api.anybody.get(f"/v2/cache/{NAME}/manifests/{tag}").status_code


def test_administrators_read_and_write_records(api: Api, upstream: Upstream) -> None:
    assert api.anybody.get("/api/v1/remotes").status_code == 401
    assert api.anybody.put(f"/api/v1/remotes/{upstream.host}", json={}).status_code == 401
    made = put(api, upstream, description="one", policy="on_demand", headers={"X-Key": "env:REMOTE_SECRET_KEY"})
    assert (made["key"], made["headers"]) == (upstream.host, {"X-Key": "env:REMOTE_SECRET_KEY"})
    assert api.admin.get(f"/api/v1/remotes/{upstream.host}").json() == made
    assert api.admin.get("/api/v1/remotes").json() == [made]
    assert api.admin.delete(f"/api/v1/remotes/{upstream.host}").status_code == 204
    gone = api.admin.get(f"/api/v1/remotes/{upstream.host}")
    assert (gone.status_code, codes(gone)) == (404, ["NAME_UNKNOWN"])
    actions = [(event.action, event.actor) for event in api.catalog.events.latest(name=upstream.host)]
    assert actions == [("delete-remote", "admin"), ("set-remote", "admin")]


def test_over_http_no_secret_of_the_machine_can_be_named(api: Api, upstream: Upstream, tmp_path: Path) -> None:
    secrets = tmp_path / "entrepot" / "secrets"
    secrets.mkdir()
    (secrets / "link").symlink_to(tmp_path / "entrepot" / "admin-password")
    (secrets / "key").write_text("value")
    for reference in (
        "env:HOME",
        f"file:{tmp_path}/entrepot/admin-password",
        f"file:{secrets}/../admin-password",
        f"file:{secrets}/link",
    ):
        put(api, upstream, 403, headers={"X-Key": reference})
        put(api, upstream, 403, proxy=reference)
    put(api, upstream, headers={"X-Key": f"file:{secrets}/key"})


def test_over_http_nothing_is_learned_of_files(api: Api, upstream: Upstream, tmp_path: Path) -> None:
    secrets = tmp_path / "entrepot" / "secrets"
    secrets.mkdir()
    (secrets / "not.pem").write_text("value")
    (secrets / "link.pem").symlink_to(tmp_path / "there.pem")
    (tmp_path / "there.pem").write_text("value")
    outside = ("/etc/passwd", "/etc/absent", tmp_path / "there.pem", secrets / "link.pem", secrets / ".." / "x")
    inside = (secrets / "not.pem", secrets / "absent.pem", secrets, tmp_path / "entrepot" / "work" / "absent.pem")
    for field in ("ca_file", "client_cert", "client_key"):
        body = {"client_cert": str(secrets / "not.pem")} if field == "client_key" else {}
        assert len({str(put(api, upstream, 403, **{**body, field: str(path)})) for path in outside}) == 1
        assert len({str(put(api, upstream, 400, **{**body, field: str(path)})) for path in inside}) == 1


def test_what_was_recorded_on_the_machine_may_stay(api: Api, upstream: Upstream, certificate: Certificate) -> None:
    record = RemoteRecord(upstream.host, NOW, NOW, ca_file=str(certificate.ca_file))
    api.catalog.remotes.put(record, actor="cli")
    assert put(api, upstream, ca_file=str(certificate.ca_file), description="by HTTP")["ca_file"] == record.ca_file
    put(api, upstream, 403, ca_file=str(certificate.cert_file))


def test_headers_go_to_the_registry_alone_and_a_new_secret_counts_at_once(
    api: Api, upstream: Upstream, tmp_path: Path, store: MemoryStore
) -> None:
    cache(api, upstream)
    secret = tmp_path / "entrepot" / "secrets" / "key"
    secret.parent.mkdir()
    secret.write_text("first\n")
    put(api, upstream, headers={"X-Key": f"file:{secret}"})
    with Upstream({NAME: store}) as elsewhere:
        upstream.redirect("blob", f"http://{elsewhere.host}")
        assert pull(api, "v1") == 200
        assert {seen.headers.get("x-key") for seen in upstream.seen} == {"first"}
        assert [seen.headers.get("x-key") for seen in elsewhere.seen] == [None]
    upstream.faults.clear()
    upstream.forget()
    secret.write_text("second")
    os.utime(secret, ns=(1, time.time_ns() + 1_000_000_000))
    assert pull(api, "v2") == 200
    assert {seen.headers.get("x-key") for seen in upstream.seen} == {"second"}
    secret.unlink()
    answer = api.anybody.get(f"/v2/cache/{NAME}/manifests/v3")
    assert answer.status_code == 502
    assert str(tmp_path) not in answer.text
    assert pull(api, "v1") == 200
    listed = json.dumps([dict(zip(("key", "headers"), row, strict=True)) for row in sql(api)], default=str)
    assert "second" not in listed


def sql(api: Api) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in api.catalog.query.run("SELECT key, headers FROM remotes").to_pylist()]


def test_a_proxy_of_one_remote_and_none_where_the_settings_name_one(
    tmp_path: Path, upstream: Upstream, store: MemoryStore
) -> None:
    with forward_proxy() as proxy, serve(tmp_path / "entrepot", upstream_attempts=1) as api:
        cache(api, upstream)
        assert pull(api, "v1") == 200
        assert proxy.seen == []
        put(api, upstream, proxy=proxy.url)
        assert pull(api, "v2") == 200
        assert f"HEAD http://{upstream.host}/v2/{NAME}/manifests/v2" in proxy.seen
        login = tmp_path / "entrepot" / "secrets" / "proxy"
        login.parent.mkdir()
        login.write_text(proxy.url.replace("//", "//user:secret@"))
        put(api, upstream, proxy=f"file:{login}")
        assert pull(api, "v3") == 200
        assert set(proxy.logins) == {"Basic dXNlcjpzZWNyZXQ="}
    with forward_proxy() as proxy, serve(tmp_path / "direct", upstream_attempts=1, proxy=proxy.url) as api:
        cache(api, upstream)
        put(api, upstream, proxy="none")
        assert pull(api, "v1") == 200
        assert proxy.seen == []


def test_tls_with_a_client_certificate(store: MemoryStore, certificate: Certificate, tmp_path: Path) -> None:
    authority, client = make_client(tmp_path / "client", "entrepot")
    tls: dict[str, Any] = {
        "ssl_certfile": str(certificate.cert_file),
        "ssl_keyfile": str(certificate.key_file),
        "ssl_ca_certs": str(authority),
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }
    with (
        Upstream({NAME: store}, **tls) as upstream,
        forward_proxy() as proxy,
        serve(tmp_path / "entrepot", upstream_attempts=1, read_timeout=5, work_roots=(tmp_path,)) as api,
    ):
        cache(api, upstream)
        assert pull(api, "v1") == 503
        put(api, upstream, ca_file=str(certificate.ca_file))
        assert pull(api, "v2") == 503
        put(api, upstream, 400, ca_file=str(certificate.ca_file), client_cert=str(authority))
        put(api, upstream, ca_file=str(certificate.ca_file), client_cert=str(client), proxy=proxy.url)
        assert pull(api, "v3") == 200
        assert set(proxy.seen) == {f"CONNECT {upstream.host}"}


def test_a_sync_takes_the_policy_of_its_remote(api: Api, upstream: Upstream, tmp_path: Path) -> None:
    home = tmp_path / "entrepot"
    put(api, upstream, policy="on_demand")
    mirror(home, f"{upstream.host}/{NAME}:v1", repository="by/default")
    mirror(home, f"{upstream.host}/{NAME}:v2", repository="as/asked", policy="immediate")
    layers = {name: api.catalog.snapshots.get(name).blobs for name in ("by/default", "as/asked")}
    missing = {name: len(api.catalog.content.missing(blobs)) for name, blobs in layers.items()}
    assert missing == {"by/default": 1, "as/asked": 0}


def test_requests_at_a_time_are_of_all_repositories_together(
    api: Api, tmp_path: Path, store: MemoryStore, upstream: Upstream
) -> None:
    put(api, upstream, concurrency=1)
    upstream.silence(route="manifest", seconds=0.02)
    mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}")
    assert upstream.most_at_once == 1
