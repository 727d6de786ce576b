"""What a cache takes, who may bring something new into it, and what it does while the registry is read-only; by counts."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.distributions.cache_rules import CacheRules
from catalog.distributions.records import Distribution
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from registry_api.pull_through.admission import names_upstream
from tests.api.conftest import Api, codes, serve
from tests.servers import wait_until
from tests.upstream import Upstream

NAME = "team/app"
CACHED = f"/v2/cache/{NAME}/manifests"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def images(store: MemoryStore) -> list[Manifest]:
    """v1 is an index of these two; v2 is an image."""
    made = [pack_image(store, [{"file": text}]) for text in ("amd64", "arm64")]
    index = pack_index(store, [(made[0], Platform("linux", "amd64")), (made[1], Platform("linux", "arm64"))])
    store.put_tag("v1", index.digest)
    store.put_tag("v2", pack_image(store, [{"file": "two"}]).digest)
    return made


@pytest.fixture
def upstream(store: MemoryStore, images: list[Manifest]) -> Iterator[Upstream]:
    with Upstream({NAME: store, "other/app": store}) as running:
        running.has_referrers = True
        yield running


@pytest.fixture
def make_cache(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Api]]:
    """Serve with a cache of the upstream at `cache`."""
    with serve(tmp_path / "entrepot", upstream_attempts=1) as api:
        yield lambda **rules: put_cache(api, upstream, **rules)


def put_cache(api: Api, upstream: Upstream, *, fresh: int = 3600, **rules: Any) -> Api:
    cache = Distribution("cache", "", NOW, NOW, remote=upstream.host, fresh_seconds=fresh, cache=CacheRules(**rules))
    api.catalog.distributions.put(cache, actor="admin")
    return api


# --- names ---------------------------------------------------------------------------------------------------------


def test_a_name_that_is_not_taken_is_as_if_upstream_had_it_not(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore
) -> None:
    api = make_cache(include=("team/*", "re:lib/[a-z]+"), exclude=("*/secret",))
    digest = store.tagged["v1"]
    for name in ("other/app", "team/secret", "teams/app", "lib/7"):
        for what in ("manifests/v1", f"manifests/{digest}", "tags/list", f"blobs/{digest}"):
            for method in ("GET", "HEAD"):
                if (what, method) != ("tags/list", "HEAD"):
                    assert api.anybody.request(method, f"/v2/cache/{name}/{what}").status_code == 404
        referrers = api.anybody.get(f"/v2/cache/{name}/referrers/{digest}")
        assert (referrers.status_code, referrers.json()["manifests"]) == (200, [])
        assert "warning" not in referrers.headers
    assert codes(api.anybody.get("/v2/cache/other/app/manifests/v1")) == ["MANIFEST_UNKNOWN"]
    assert codes(api.anybody.get("/v2/cache/other/app/tags/list")) == ["NAME_UNKNOWN"]
    assert upstream.seen == []
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200
    shown = api.admin.get("/api/v1/distributions", params={"caches": True}).json()["distributions"][0]["cache"]
    assert (shown["include"], shown["exclude"]) == (["team/*", "re:lib/[a-z]+"], ["*/secret"])
    assert api.admin.get("/api/v1/distributions").json()["distributions"][0]["cache"] is None


def test_what_came_before_its_name_was_excluded(
    make_cache: Callable[..., Api], upstream: Upstream, images: list[Manifest], store: MemoryStore
) -> None:
    """As with what upstream has deleted: no tags, no further layers; digests that are here are served."""
    api, image = make_cache(), images[0]
    for reference in ("v1", image.digest):
        assert api.anybody.get(f"{CACHED}/{reference}").status_code == 200
    make_cache(exclude=("team/*",))
    upstream.forget()
    assert api.anybody.get(f"{CACHED}/v1").status_code == 404
    assert api.anybody.get(f"{CACHED}/{image.digest}").content == image.raw
    assert image.config is not None
    assert api.anybody.get(f"/v2/cache/{NAME}/blobs/{image.config.digest}").status_code == 200
    layer = api.anybody.get(f"/v2/cache/{NAME}/blobs/{image.layers[0].digest}")
    assert (layer.status_code, codes(layer)) == (404, ["BLOB_UNKNOWN"])
    assert api.anybody.get(f"/v2/cache/{NAME}/tags/list").json()["tags"] == ["v1"]
    assert upstream.seen == []
    make_cache()
    assert api.anybody.get(f"{CACHED}/v1").status_code == 200


@pytest.mark.parametrize(
    ("remote", "name", "names"),
    [
        ("docker.io", "alpine", ("alpine", "library/alpine")),
        ("docker.io", "library/alpine", ("alpine", "library/alpine")),
        ("docker.io", "team/app", ("team/app",)),
        ("docker.io/team", "app", ("app",)),
        ("registry.example", "library/alpine", ("library/alpine",)),
        ("registry.example/team", "app", ("app",)),
    ],
)
def test_official_images_go_by_both_their_names(remote: str, name: str, names: tuple[str, ...]) -> None:
    assert names_upstream(Distribution("hub", "", NOW, NOW, remote=remote), f"hub/{name}") == names


def test_no_other_spelling_gets_round_an_exclude() -> None:
    assert not CacheRules(exclude=("alpine",)).selects("alpine", "library/alpine")
    assert not CacheRules(exclude=("library/*",)).selects("alpine", "library/alpine")
    assert CacheRules(include=("library/*",)).selects("alpine", "library/alpine")
    assert not CacheRules(include=("team/*",)).selects("alpine", "library/alpine")


# --- who may bring -------------------------------------------------------------------------------------------------


def test_nobody_pulls_what_is_here_and_brings_nothing(
    make_cache: Callable[..., Api], upstream: Upstream, store: MemoryStore, images: list[Manifest]
) -> None:
    api = make_cache(fresh=0, bring="users")
    answer = api.anybody.get(f"{CACHED}/v1")
    assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
    assert "www-authenticate" in answer.headers
    assert api.anybody.get(f"/v2/cache/{NAME}/tags/list").status_code == 401
    assert upstream.seen == []
    assert api.admin.get(f"{CACHED}/v1").status_code == 200

    upstream.forget()
    stale = api.anybody.get(f"{CACHED}/v1")
    assert (stale.status_code, stale.content) == (200, store.manifests[store.tagged["v1"]].raw)
    assert stale.headers["warning"].startswith("299 - ")
    assert api.anybody.get(f"/v2/cache/{NAME}/tags/list").json()["tags"] == ["v1"]
    assert api.anybody.get(f"/v2/cache/{NAME}/referrers/{store.tagged['v1']}").status_code == 200
    assert api.anybody.get(f"{CACHED}/v2").status_code == 401
    assert api.anybody.get(f"{CACHED}/{store.tagged['v2']}").status_code == 401
    assert upstream.seen == []

    image = images[1]  # parts of an image that is here come for everybody
    assert api.anybody.get(f"{CACHED}/{image.digest}").content == image.raw
    layer = image.layers[0].digest
    assert api.anybody.get(f"/v2/cache/{NAME}/blobs/{layer}").content == store.blobs[layer]


def test_a_tag_that_somebody_has_just_asked_for_carries_no_warning(make_cache: Callable[..., Api]) -> None:
    api = make_cache(bring="users")
    assert api.admin.get(f"{CACHED}/v1").status_code == 200
    answer = api.anybody.get(f"{CACHED}/v1")
    assert (answer.status_code, "warning" in answer.headers) == (200, False)


def test_with_rule_it_takes_the_right_to_push_there(
    make_cache: Callable[..., Api], upstream: Upstream, request: pytest.FixtureRequest
) -> None:
    api = make_cache(bring="rule")
    administration = Administration(
        AccessStore(api.catalog.settings, api.catalog.state), api.catalog.events, actor="t", now=lambda: NOW
    )
    logins = {}
    for name, grant in (("reader", "pull:cache/**"), ("bringer", "pull,push:cache/team/*")):
        administration.add_account(name, password=None)
        administration.add_rule([f"robot:{name}"], parse_grant(grant))
        logins[name] = api.client(auth=(name, administration.add_token(name).secret))
        request.addfinalizer(logins[name].close)
    answer = logins["reader"].get(f"{CACHED}/v1")
    assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
    assert upstream.seen == []
    token = logins["bringer"].get("/token", params={"scope": f"repository:cache/{NAME}:pull"}).json()["token"]
    with api.client() as client:  # a token for pulls alone, as clients ask for them
        brought = client.get(f"{CACHED}/v1", headers={"Authorization": f"Bearer {token}"})
    assert brought.status_code == 200
    assert logins["bringer"].get("/v2/cache/other/app/manifests/v1").status_code == 403
    assert logins["bringer"].post(f"/v2/cache/{NAME}/blobs/uploads/").status_code == 403  # no way to push
    assert logins["reader"].get(f"{CACHED}/v1").status_code == 200
    wait_until(lambda: len(api.catalog.events.latest(action="bring")) == 2, 10, "refusals are written")
    refused = api.catalog.events.latest(action="bring")
    assert {(event.actor, event.name) for event in refused} == {
        ("reader", f"cache/{NAME}"),
        ("bringer", "cache/other/app"),
    }


# --- read-only -----------------------------------------------------------------------------------------------------


def test_a_read_only_registry_brings_nothing_and_serves_what_it_has(
    tmp_path: Path, upstream: Upstream, store: MemoryStore, images: list[Manifest]
) -> None:
    home, image = tmp_path / "entrepot", images[0]
    with serve(home) as api:
        put_cache(api, upstream)
        for reference in ("v1", image.digest):
            assert api.anybody.get(f"{CACHED}/{reference}").status_code == 200
        version = api.catalog.snapshots.get(f"cache/{NAME}").version
    upstream.forget()
    with serve(home, read_only=True) as api:
        stale = api.anybody.get(f"{CACHED}/v1")
        assert stale.status_code == 200
        assert stale.headers["warning"].startswith("299 - ")
        assert api.anybody.get(f"{CACHED}/{image.digest}").status_code == 200
        for absent in ("v2", images[1].digest):
            answer = api.anybody.get(f"{CACHED}/{absent}")
            assert (answer.status_code, codes(answer)) == (503, ["UNKNOWN"])
            assert "read-only" in answer.json()["errors"][0]["message"]
        assert api.anybody.get(f"/v2/cache/{NAME}/tags/list").json()["tags"] == ["v1"]
        assert api.anybody.get("/v2/cache/other/app/tags/list").status_code == 503
        assert api.anybody.get(f"/v2/cache/{NAME}/referrers/{image.digest}").status_code == 200
        assert upstream.seen == []
        layer = image.layers[0].digest
        for number in (1, 2):  # passed through, and not kept
            assert api.anybody.get(f"/v2/cache/{NAME}/blobs/{layer}").content == store.blobs[layer]
            assert upstream.counts["GET", "blob"] == number
        assert api.catalog.content.size(layer) is None
        assert api.catalog.snapshots.get(f"cache/{NAME}").version == version


# --- cost ----------------------------------------------------------------------------------------------------------


def test_a_thousand_pulls_of_a_fresh_tag_cost_one_head(make_cache: Callable[..., Api], upstream: Upstream) -> None:
    api = make_cache()
    assert {api.anybody.get(f"{CACHED}/v1").status_code for _ in range(1000)} == {200}
    assert (upstream.counts["HEAD", "manifest"], upstream.counts["GET", "manifest"]) == (1, 1)
    assert sum(upstream.counts.values()) <= 3  # and what the challenge took


def test_a_list_is_fresh_as_long_as_a_tag(make_cache: Callable[..., Api], upstream: Upstream) -> None:
    api = make_cache()
    for _ in range(5):
        assert api.anybody.get(f"/v2/cache/{NAME}/tags/list").json()["tags"] == ["v1", "v2"]
    assert upstream.counts["GET", "tags"] == 1
