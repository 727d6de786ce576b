"""Syncs from an upstream that misbehaves on the wire: what is asked of it, what fails, what the catalogue holds then."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.settings import Settings, read_settings
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.resolution import TagsFailed
from oci.errors import RemoteNotFound, RemoteUnauthorized, RemoteUnavailable
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from tests.flows.conftest import at_a_fixed_time
from tests.mirror import synced
from tests.upstream import Reply, Seen, Upstream

NAME = "team/app"
Sync = Callable[..., SyncResult]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(NAME)


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}, page=100) as served:
        yield served


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "entrepot", upstream_attempts=2, read_timeout=2.0)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with open_catalog(settings) as opened:
        yield opened


@pytest.fixture
def sync(catalog: Catalog, settings: Settings, upstream: Upstream) -> Sync:
    """One sync from the upstream without Prefect; `settings` may be other ones."""

    def run(*, name: str = NAME, other: Settings | None = None, **request: object) -> SyncResult:
        asked = SyncRequest.model_validate({"remote": f"{upstream.host}/{name}", **request})
        return asyncio.run(synced(catalog, asked, settings=other or settings, clock=at_a_fixed_time))

    return run


def image(store: MemoryStore, tag: str, text: str | None = None) -> Manifest:
    manifest = pack_image(store, [{"file": text or tag}])
    store.put_tag(tag, manifest.digest)
    return manifest


def layer_of(manifest: Manifest) -> str:
    return manifest.layers[0].digest


# --- the whole repository --------------------------------------------------------------------------------------


def test_unknown_name(sync: Sync, catalog: Catalog) -> None:
    with pytest.raises(RemoteNotFound, match="NAME_UNKNOWN"):
        sync(name="team/nothing")
    assert list(catalog.snapshots.names()) == []


def test_unknown_tag(sync: Sync, store: MemoryStore) -> None:
    image(store, "v1")
    with pytest.raises(TagsFailed, match="v9"):
        sync(name=f"{NAME}:v9")


def test_a_login_from_the_settings_is_used_and_a_wrong_one_is_told_without_being_shown(
    sync: Sync, store: MemoryStore, upstream: Upstream, settings: Settings
) -> None:
    image(store, "v1")
    upstream.login = ("reader", "right")
    with pytest.raises(RemoteUnauthorized):
        sync()
    wrong = read_settings(home=settings.home, logins={upstream.host: "reader:not-it"})
    with pytest.raises(RemoteUnauthorized) as caught:
        sync(other=wrong)
    assert "not-it" not in str(caught.value)
    assert base64.b64encode(b"reader:not-it").decode() not in str(caught.value)
    assert sync(other=read_settings(home=settings.home, logins={upstream.host: "reader:right"})).version == 1


def test_a_login_from_an_auth_file(
    sync: Sync, store: MemoryStore, upstream: Upstream, settings: Settings, tmp_path: Path
) -> None:
    image(store, "v1")
    upstream.login, upstream.bearer = ("reader", "right"), True
    file = tmp_path / "auth.json"
    entry = {"auth": base64.b64encode(b"reader:right").decode()}
    file.write_text(json.dumps({"auths": {upstream.host: entry}}))
    assert sync(other=read_settings(home=settings.home, auth_file=file)).version == 1


def test_401_for_ever_ends_soon(sync: Sync, store: MemoryStore, upstream: Upstream, settings: Settings) -> None:
    for number in range(50):
        image(store, f"v{number:02}")
    upstream.login, upstream.bearer, upstream.token_lifetime = ("reader", "right"), True, 0
    with pytest.raises(RemoteUnauthorized):
        sync(other=read_settings(home=settings.home, logins={upstream.host: "reader:right"}))
    assert len(upstream.seen) < 20


def test_429_is_waited_out(sync: Sync, store: MemoryStore, upstream: Upstream) -> None:
    image(store, "v1")
    upstream.fail(429, route="manifest", times=1, retry_after="1")
    assert sync().version == 1


def test_500s_that_pass_are_tried_again(sync: Sync, store: MemoryStore, upstream: Upstream) -> None:
    image(store, "v1")
    upstream.fail(500, route="tags", times=1)
    upstream.fail(503, route="blob", times=1)
    assert sync().version == 1


def test_500s_that_stay_change_nothing(sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog) -> None:
    image(store, "v1")
    upstream.fail(500, route="blob")
    with pytest.raises(TagsFailed, match="500"):
        sync()
    assert catalog.snapshots.find(NAME) is None


def test_silence_is_a_time_out(sync: Sync, store: MemoryStore, upstream: Upstream, settings: Settings) -> None:
    image(store, "v1")
    upstream.silence(route="tags", seconds=5.0)
    with pytest.raises(RemoteUnavailable, match="silent"):
        sync(other=read_settings(home=settings.home, upstream_attempts=1, read_timeout=0.3))


def test_an_upstream_that_is_not_there(sync: Sync, upstream: Upstream, settings: Settings) -> None:
    with pytest.raises(RemoteUnavailable, match="cannot be reached"):
        sync(remote="127.0.0.1:1/team/app", other=read_settings(home=settings.home, upstream_attempts=1))


# --- one bad tag -----------------------------------------------------------------------------------------------


def bad_tag(sync: Sync, store: MemoryStore, catalog: Catalog, bad: str) -> str:
    """The reason for a bad tag. With `fail` nothing may have changed, with `skip` the good tag is there and no more."""
    good = image(store, "good")
    with pytest.raises(TagsFailed) as caught:
        sync()
    assert set(caught.value.failed) == {bad}
    assert catalog.snapshots.find(NAME) is None
    result = sync(on_error="skip")
    assert result.failed.keys() == {bad}
    assert catalog.snapshots.get(NAME).tags == {"good": good.digest}
    assert set(catalog.snapshots.get(NAME).manifests) == {good.digest}
    return result.failed[bad]


def test_wrong_digest_of_a_blob(sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog) -> None:
    layer = layer_of(image(store, "bad"))
    upstream.replace(layer, bytes(len(store.blobs[layer])))  # type: ignore[index]  # a digest is a text
    assert layer in bad_tag(sync, store, catalog, "bad")
    assert catalog.content.size(layer) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [b"", b"and more"])
def test_wrong_size_of_a_blob(
    change: bytes, sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog
) -> None:
    layer = layer_of(image(store, "bad"))
    data = store.blobs[layer]  # type: ignore[index]
    upstream.replace(layer, data + change if change else data[:-3])
    bad_tag(sync, store, catalog, "bad")
    assert catalog.content.size(layer) is None  # type: ignore[arg-type]


def test_truncated_blob_is_resumed(sync: Sync, store: MemoryStore, upstream: Upstream) -> None:
    manifest = pack_image(store, [{"file": "x" * 200_000}])
    store.put_tag("v1", manifest.digest)
    upstream.cut(layer_of(manifest), after=100)
    assert sync().version == 1
    assert any("range" in seen.headers for seen in upstream.seen if seen.route == "blob")


def test_blob_that_always_breaks_off(sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog) -> None:
    layer = layer_of(image(store, "bad"))
    upstream.cut(layer, after=0, times=1000)
    bad_tag(sync, store, catalog, "bad")


def test_manifest_that_is_no_json(sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog) -> None:
    bad = image(store, "bad")
    upstream.replace(bad.digest, b"<html>")
    assert "JSON" in bad_tag(sync, store, catalog, "bad") or "bytes" in bad_tag(sync, store, catalog, "bad")


def test_manifest_of_another_digest(sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog) -> None:
    bad = image(store, "bad")
    other = pack_image(store, [{"file": "other"}])

    def swap(seen: Seen, good: Reply) -> Reply | None:
        if seen.method == "GET" and seen.reference in ("bad", bad.digest):
            return Reply(200, other.raw, {"content-type": other.media_type})
        return None

    upstream.faults.append(swap)
    assert other.digest in bad_tag(sync, store, catalog, "bad")


def test_index_whose_child_is_missing(sync: Sync, store: MemoryStore, catalog: Catalog) -> None:
    child = pack_image(store, [{"file": "child"}])
    store.put_tag("bad", pack_index(store, [(child, Platform("linux", "amd64"))]).digest)
    del store.manifests[child.digest]
    assert child.digest in bad_tag(sync, store, catalog, "bad")


def test_tag_that_is_listed_but_not_there(sync: Sync, store: MemoryStore, catalog: Catalog) -> None:
    gone = image(store, "bad")
    del store.manifests[gone.digest]
    assert "404" in bad_tag(sync, store, catalog, "bad")


# --- tags that move, many tags, unchanged tags -----------------------------------------------------------------


@pytest.mark.parametrize("forget_old", [False, True])
def test_tag_that_moves_during_the_sync(
    forget_old: bool, sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog
) -> None:
    first = image(store, "tag", "first")
    second = pack_image(store, [{"file": "second"}])
    upstream.move(NAME, "tag", second.digest, forget_old=forget_old)
    sync()
    assert catalog.snapshots.get(NAME).tags == {"tag": second.digest if forget_old else first.digest}
    sync()
    assert catalog.snapshots.get(NAME).tags == {"tag": second.digest}


def test_ten_thousand_tags_in_pages_of_a_hundred(
    sync: Sync, store: MemoryStore, upstream: Upstream, catalog: Catalog
) -> None:
    images = [pack_image(store, [{"file": str(number)}]).digest for number in range(20)]
    for number in range(10_000):
        store.put_tag(f"v{number:05}", images[number % 20])
    result = sync(include=["v*00"])
    assert len(catalog.snapshots.get(NAME).tags) == 100
    assert upstream.counts["GET", "tags"] == 100
    assert upstream.counts["HEAD", "manifest"] == 100
    assert len(result.dropped) == 9_900


def test_unchanged_sync_costs_one_listing_and_a_head_per_tag(
    sync: Sync, store: MemoryStore, upstream: Upstream
) -> None:
    images = [pack_image(store, [{"file": str(number)}]).digest for number in range(10)]
    for number in range(90):
        store.put_tag(f"v{number:02}", images[number % 10])
    sync(mode="mirror")
    upstream.forget()
    result = sync(mode="mirror")
    assert not result.changed
    assert {key: count for key, count in upstream.counts.items() if key != ("GET", "base")} == {
        ("GET", "tags"): 1,
        ("HEAD", "manifest"): 90,
    }


def test_nothing_is_copied_twice(sync: Sync, store: MemoryStore, upstream: Upstream) -> None:
    for number in range(5):
        image(store, f"v{number}")
    sync()
    upstream.forget()
    image(store, "v5")
    sync()
    assert upstream.counts["GET", "blob"] == 2
    assert upstream.counts["HEAD", "manifest"] == 6
