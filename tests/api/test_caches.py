"""Pull-through caches: what they ask upstream, how often, and what is served when upstream fails."""

import base64
import concurrent.futures
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.distributions.records import Distribution
from catalog.serving import Serving
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.omitted_children import left_out_text, read_left_out
from oci.signing.atomic import AtomicSignature
from registry_api.http.messages import warning_value
from registry_api.pull_through import upstream_requests
from tests.api.conftest import Api, codes, serve
from tests.servers import wait_until
from tests.upstream import Reply, Seen, Upstream

NAME = "team/app"
CACHED = f"/v2/cache/{NAME}/manifests"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    image = pack_image(store, [{"file": "one"}])
    index = pack_index(store, [(image, Platform("linux", "amd64"))])
    store.put_tag("v1", index.digest)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as running:
        yield running


@pytest.fixture
def make_cache(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Api]]:
    """Serve with a cache of the upstream at `cache`."""
    with serve(tmp_path / "entrepot", upstream_attempts=1, read_timeout=1) as api:

        def make(*, fresh: int = 3600, private: bool = False) -> Api:
            cache = Distribution("cache", "", NOW, NOW, private=private, remote=upstream.host, fresh_seconds=fresh)
            api.catalog.distributions.put(cache, actor="admin")
            return api

        yield make


def test_a_fresh_tag_costs_upstream_nothing(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: api.anybody.get(f"{CACHED}/v1"), range(8)))
    index = store.manifests[store.tagged["v1"]]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, index.raw)] * 8
    assert (upstream.counts["HEAD", "manifest"], upstream.counts["GET", "manifest"]) == (1, 1)
    upstream.forget()
    for method in ("GET", "HEAD"):
        assert api.anybody.request(method, f"{CACHED}/v1").status_code == 200
    assert upstream.seen == []
    child = index.manifests[0].digest
    assert [api.anybody.get(f"{CACHED}/{child}").status_code for _ in range(3)] == [200] * 3
    assert upstream.counts["GET", "manifest"] == 1
    assert [version.operation for version in api.catalog.history.versions(f"cache/{NAME}")] == ["pull-through"] * 2
    assert api.anybody.get(f"/v2/cache/{NAME}/tags/list").json()["tags"] == ["v1"]
    assert api.anybody.get("/v2/_catalog").json()["repositories"] == [f"cache/{NAME}"]


def test_a_tag_that_moves_is_seen_and_one_that_does_not_costs_a_head(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache(fresh=0)
    for _ in range(2):
        assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    assert (upstream.counts["HEAD", "manifest"], upstream.counts["GET", "manifest"]) == (2, 1)
    moved = pack_image(store, [{"file": "two"}])
    store.put_tag("v1", moved.digest)
    assert api.anybody.get(f"{CACHED}/v1").content == moved.raw
    assert api.catalog.snapshots.get(f"cache/{NAME}").version == 2


@pytest.mark.parametrize("status", [500, 429, 401])
def test_what_is_here_is_served_when_upstream_fails(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore, status: int
) -> None:
    api = make_cache(fresh=0)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    upstream.fail(status, route="manifest")
    answer = api.anybody.get(f"{CACHED}/v1")
    assert (answer.status_code, answer.content) == (200, store.manifests[store.tagged["v1"]].raw)


def test_what_is_here_is_served_when_upstream_is_silent(make_cache: Callable[..., Api], upstream: Upstream) -> None:
    api = make_cache(fresh=0)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    upstream.silence(route="manifest", seconds=20)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200


def test_a_silent_upstream_keeps_one_client_waiting_and_not_the_next(
    make_cache: Callable[..., Api],
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(upstream_requests, "STALE_AFTER", 0.2)
    monkeypatch.setattr(upstream_requests, "_RETRY_AFTER", 3600.0)
    assert make_cache(fresh=0).anybody.get(f"{CACHED}/v1").status_code == 200
    api = make_cache(fresh=3600)  # what was brought before is stale all the same
    upstream.silence(route="manifest", seconds=20)
    for _ in range(3):
        assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    assert caplog.text.count("serves stale") == 1


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [(500, 503, "UNKNOWN"), (404, 404, "MANIFEST_UNKNOWN"), (429, 429, "TOOMANYREQUESTS"), (401, 502, "UNAUTHORIZED")],
)
def test_what_is_not_here_fails_as_upstream_does(
    make_cache: Callable[..., Api],
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    answered: int,
    code: str,
) -> None:
    monkeypatch.setattr(upstream_requests, "_ABSENT", 0.0)
    api = make_cache()
    upstream.fail(status, route="manifest")
    answer = api.anybody.get(f"{CACHED}/v1")
    assert (answer.status_code, codes(answer)) == (answered, [code])
    assert api.catalog.snapshots.names() == ()
    upstream.faults.clear()
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200


def test_a_tag_that_upstream_deleted_is_gone_and_its_version_stays(
    make_cache: Callable[..., Api], store: MemoryStore
) -> None:
    api = make_cache(fresh=0)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    digest = store.tagged.pop("v1")
    assert api.anybody.get(f"{CACHED}/v1").status_code == 404
    assert api.anybody.get(f"{CACHED}/{digest}").status_code == 200


def test_a_manifest_that_is_not_its_digest_is_refused(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache()
    upstream.replace("v1", b'{"schemaVersion": 2}')
    upstream.replace(store.tagged["v1"], b'{"schemaVersion": 2}')
    answer = api.anybody.get(f"{CACHED}/{store.tagged['v1']}")
    assert (answer.status_code, codes(answer)) == (502, ["DIGEST_INVALID"])
    assert api.catalog.snapshots.names() == ()


def test_a_cache_takes_no_pushes_and_owns_whole_parts_of_paths_only(
    make_cache: Callable[..., Api], upstream: Upstream
) -> None:
    api = make_cache()
    answer = api.admin.post(f"/v2/cache/{NAME}/blobs/uploads/")
    assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
    assert api.admin.post("/v2/cachet/app/blobs/uploads/").status_code == 202
    assert api.admin.get(f"/v2/cachet/{NAME}/manifests/v1").status_code == 404
    assert api.anybody.get("/v2/cache/manifests/v1").status_code == 404
    assert upstream.seen == []


def test_a_private_cache_and_what_it_brought_need_a_login(make_cache: Callable[..., Api]) -> None:
    api = make_cache(private=True)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 401
    assert api.admin.get(f"{CACHED}/v1").status_code == 200
    assert api.anybody.get(f"{CACHED}/v1").status_code == 401
    assert api.anybody.get("/v2/_catalog").json()["repositories"] == []
    assert api.admin.get("/v2/_catalog").json()["repositories"] == [f"cache/{NAME}"]


def test_layers_are_fetched_with_the_first_pull(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache()
    api.anybody.get(f"{CACHED}/v1")
    child = store.manifests[store.tagged["v1"]].manifests[0].digest
    image = store.manifests[child]
    assert api.anybody.get(f"{CACHED}/{child}").content == image.raw
    layer = image.layers[0].digest
    assert upstream.counts["GET", "blob"] == 1  # the config
    for _ in range(2):
        assert api.anybody.get(f"/v2/cache/{NAME}/blobs/{layer}").content == store.blobs[layer]
        wait_until(lambda: api.catalog.content.size(layer) is not None, 10, "the layer is kept")
    assert upstream.counts["GET", "blob"] == 2


def test_ns_finds_what_a_cache_of_that_registry_has(make_cache: Callable[..., Api], upstream: Upstream) -> None:
    """As containerd asks the mirrors of a registry; a parameter that means nothing here is ignored."""
    api = make_cache()
    answer = api.anybody.get(f"/v2/{NAME}/manifests/v1", params={"ns": upstream.host})
    assert answer.status_code == 200
    assert answer.headers["oci-namespace"] == upstream.host
    assert answer.content == api.anybody.get(f"/v2/cache/{NAME}/manifests/v1").content
    other = api.anybody.get(f"/v2/cache/{NAME}/manifests/v1", params={"ns": "elsewhere.example"})
    assert other.status_code == 200
    assert "oci-namespace" not in other.headers
    assert api.admin.get(f"/v2/{NAME}/manifests/v1", params={"ns": "elsewhere.example"}).status_code == 404


def test_ns_is_no_way_round_a_private_cache(make_cache: Callable[..., Api], upstream: Upstream) -> None:
    api = make_cache(private=True)
    answer = api.anybody.get(f"/v2/{NAME}/manifests/v1", params={"ns": upstream.host})
    assert answer.status_code == 401
    assert upstream.seen == []
    assert api.admin.get(f"/v2/{NAME}/manifests/v1", params={"ns": upstream.host}).status_code == 200


def test_a_stale_answer_carries_a_warning(make_cache: Callable[..., Api], upstream: Upstream) -> None:
    api = make_cache(fresh=0)
    assert "warning" not in api.anybody.get(f"/v2/cache/{NAME}/manifests/v1").headers
    upstream.fail(500, route="manifest")
    answer = api.anybody.get(f"/v2/cache/{NAME}/manifests/v1")
    assert answer.status_code == 200
    assert answer.headers["warning"].startswith('299 - "')


# --- what upstream does not have -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["v7", "sha256:" + "0" * 64])
def test_what_upstream_does_not_have_is_asked_for_once(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore, reference: str
) -> None:
    api = make_cache()
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(lambda _: api.anybody.get(f"{CACHED}/{reference}").status_code, range(8)))
    assert statuses == [404] * 8
    assert api.anybody.head(f"{CACHED}/{reference}").status_code == 404
    assert upstream.counts["HEAD", "manifest"] == 1
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200


def test_a_tag_that_was_not_there_is_found_once_that_is_forgotten(
    make_cache: Callable[..., Api], store: MemoryStore
) -> None:
    api = make_cache(fresh=0)  # what was not there is remembered for no longer than what was
    assert api.anybody.get(f"{CACHED}/v2").status_code == 404
    store.put_tag("v2", store.tagged["v1"])
    assert api.anybody.get(f"{CACHED}/v2").status_code == 200


# --- lists ---------------------------------------------------------------------------------------------------------


LIST = f"/v2/cache/{NAME}/tags/list"


def test_who_has_looked_here_before_the_list_came_asks_nobody(
    make_cache: Callable[..., Api], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_cache()
    looked, came, find = threading.Event(), threading.Event(), Serving.find

    def find_slowly(self: Serving, path: str) -> Snapshot | None:
        found, is_first = find(self, path), not looked.is_set()
        looked.set()
        if is_first:
            assert came.wait(30)
        return found

    monkeypatch.setattr(Serving, "find", find_slowly)
    with concurrent.futures.ThreadPoolExecutor(1) as threads, api.client() as other:
        slow = threads.submit(lambda: other.get(LIST).json())
        assert looked.wait(30)
        assert api.anybody.get(LIST).json()["tags"] == ["v1"]
        came.set()
        assert slow.result()["tags"] == ["v1"]
    assert upstream.counts["GET", "tags"] == 1


def test_tags_are_listed_as_upstream_has_them_once_for_all(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache()
    for tag in ("v3", "v2", "a"):
        store.put_tag(tag, store.tagged["v1"])
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        lists = list(threads.map(lambda _: api.anybody.get(LIST).json(), range(8)))
    assert lists == [{"name": f"cache/{NAME}", "tags": ["a", "v1", "v2", "v3"]}] * 8
    assert upstream.counts["GET", "tags"] == 1
    assert api.catalog.snapshots.names() == ()  # a list is no pull
    first = api.anybody.get(LIST, params={"n": 3})
    assert first.json()["tags"] == ["a", "v1", "v2"]
    assert api.anybody.get(first.links["next"]["url"]).json()["tags"] == ["v3"]


def test_what_was_pulled_is_listed_though_upstream_has_it_no_longer(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache(fresh=0)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    store.put_tag("v2", store.tagged.pop("v1"))
    assert api.anybody.get(LIST).json()["tags"] == ["v1", "v2"]
    upstream.repositories.clear()
    assert api.anybody.get(LIST).json()["tags"] == ["v1"]


def test_a_list_while_upstream_is_down_is_what_was_known_with_a_warning(
    make_cache: Callable[..., Api], upstream: Upstream
) -> None:
    api = make_cache(fresh=0)
    upstream.fail(500)
    assert api.anybody.get(LIST).status_code == 503
    upstream.faults.clear()
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    upstream.fail(500)
    answer = api.anybody.get(LIST)
    assert (answer.status_code, answer.json()["tags"]) == (200, ["v1"])
    assert answer.headers["warning"].startswith("299 - ")


def test_a_name_that_nobody_has_has_no_list(make_cache: Callable[..., Api]) -> None:
    answer = make_cache().anybody.get("/v2/cache/no/thing/tags/list")
    assert (answer.status_code, codes(answer)) == (404, ["NAME_UNKNOWN"])


# --- referrers -----------------------------------------------------------------------------------------------------


def test_referrers_come_from_upstream_once(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    image = pack_image(store, [{"file": "signed"}])
    sbom = pack_artifact(store, "application/spdx+json", [("application/spdx+json", b"{}")], subject=image)
    upstream.has_referrers = True
    api = make_cache()
    path = f"/v2/cache/{NAME}/referrers/{image.digest}"
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: api.anybody.get(path).json()["manifests"], range(8)))
    assert [[one["digest"] for one in found] for found in answers] == [[sbom.digest]] * 8
    assert upstream.counts["GET", "referrers"] == 1
    upstream.forget()
    assert api.anybody.get(f"{CACHED}/{sbom.digest}").content == sbom.raw
    for layer in sbom.layers:
        assert api.anybody.get(f"/v2/cache/{NAME}/blobs/{layer.digest}").content == b"{}"
    assert upstream.seen == []


def test_referrers_while_upstream_is_down_are_what_is_here_with_a_warning(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache(fresh=0)
    upstream.fail(500)
    answer = api.anybody.get(f"/v2/cache/{NAME}/referrers/{store.tagged['v1']}")
    assert (answer.status_code, answer.json()["manifests"]) == (200, [])
    assert answer.headers["warning"].startswith("299 - ")


def test_signatures_come_by_upstream_s_extension(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    digest = store.tagged["v1"]
    entry = atomic_entry(digest)

    def extension(seen: Seen, reply: Reply) -> Reply | None:
        if seen.route == "base":
            reply.headers["x-registry-supports-signatures"] = "1"
            return reply
        if seen.path == f"/extensions/v2/{NAME}/signatures/{digest}":
            return Reply(200, json.dumps({"signatures": [entry]}).encode(), {"content-type": "application/json"})
        return None

    upstream.faults.append(extension)
    api = make_cache()
    signatures = f"/extensions/v2/cache/{NAME}/signatures/{digest}"
    for _ in range(3):  # asked before the manifest, which comes too
        assert api.anybody.get(signatures).json()["signatures"] == [entry]
    aside = api.anybody.get(f"/sigstore/cache/{NAME}@sha256={digest.encoded}/signature-1")
    assert aside.content == base64.b64decode(str(entry["content"]))
    assert [seen.path for seen in upstream.seen if seen.path.startswith("/extensions/")] == [
        signatures.replace("cache/", "")
    ]
    assert api.anybody.get(f"{CACHED}/{digest}").status_code == 200
    child = store.manifests[digest].manifests[0].digest
    assert api.anybody.get(f"/extensions/v2/cache/{NAME}/signatures/{child}").status_code == 200


def test_without_the_extension_upstream_is_not_asked_and_an_unknown_manifest_is_unknown(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api, digest = make_cache(), store.tagged["v1"]
    assert api.anybody.get(f"/extensions/v2/cache/{NAME}/signatures/{digest}").json() == {"signatures": []}
    assert not [seen for seen in upstream.seen if seen.path.startswith("/extensions/")]
    unknown = api.anybody.get(f"/extensions/v2/cache/{NAME}/signatures/{Digest.of(b'none')}")
    assert unknown.status_code == 404


def test_that_upstream_was_made_without_a_child_is_passed_on(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    """A sync of the cache takes the index as it is then, as one of upstream does."""
    api, index = make_cache(), store.tagged["v1"]
    child = store.manifests[index].manifests[0].digest
    warning = warning_value(left_out_text(child, index, NAME))
    upstream.fail(404, only=child, warning=warning)
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    answer = api.anybody.get(f"{CACHED}/{child}")
    assert answer.status_code == 404
    assert read_left_out([answer.headers["warning"]]) == left_out_text(child, index, NAME)
    plain = api.anybody.get(f"{CACHED}/{Digest.of(b'none')}")
    assert (plain.status_code, "warning" in plain.headers) == (404, False)


def atomic_entry(digest: Digest) -> dict[str, object]:
    """A signature object whose content is an OpenPGP literal packet with a payload about the digest."""
    identity = {"docker-reference": f"registry.example/{NAME}:v1"}
    critical = {"type": "atomic container signature", "image": {"docker-manifest-digest": digest}, "identity": identity}
    body = b"b\0" + bytes(4) + json.dumps({"critical": critical, "optional": {}}).encode()
    message = bytes([0x80 | 11 << 2 | 2]) + len(body).to_bytes(4, "big") + body
    return AtomicSignature(f"{digest}@{'0' * 32}", message).to_json()
