"""Caches keep to their limits: what was not used for long goes, and comes again when it is asked for; the size is reached by the
layers that were used longest ago."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.pull_counts import PullCount, Pulled
from catalog.settings import read_settings
from flows.storage.evict_flow import select_caches
from oci.descriptor import Descriptor
from oci.errors import DistributionUnknown
from oci.manifest import Manifest
from tests.cli.commands import Entrepot
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import upload
from tests.servers import Client, DockerRegistry, EntrepotServer, wait_until

pytestmark = pytest.mark.slow
NAME = "team/app"
CACHED = f"cache/{NAME}"
SECOND = 1 / 86400
TAGS = ("v1", "v2", "v3")


@pytest.fixture
def upstream(docker_registry: DockerRegistryFactory) -> DockerRegistry:
    return docker_registry()


@pytest.fixture
def images(upstream: DockerRegistry) -> dict[str, Manifest]:
    """Three indexes of an image with a layer of 300 kB each."""
    return {tag: upload(upstream, NAME, tag, token_hex(300_000)) for tag in TAGS}


def _layer_of(catalog: Catalog, index: Manifest) -> Descriptor:
    child = index.manifests[0]
    return catalog.manifests.read(child.digest, child.media_type).layers[0]


@pytest.fixture
def server(
    entrepot: Entrepot, upstream: DockerRegistry, images: dict[str, Manifest], entrepot_server: EntrepotFactory
) -> EntrepotServer:
    entrepot.json("distribution", "create", "cache", "--remote", upstream.host, "--freshness", "0")
    return entrepot_server(entrepot.home, env={"ENTREPOT_PULLS_FLUSH_SECONDS": "0.1"})


def _pull(skopeo: Client, server: EntrepotServer, folder: Path, *tags: str) -> None:
    folder.mkdir(exist_ok=True)
    for tag in tags:
        skopeo("copy", "--src-tls-verify=false", f"docker://{server.host}/{CACHED}:{tag}", f"dir:{folder / tag}")


def _set(entrepot: Entrepot, *limits: str) -> dict[str, Any]:
    found: dict[str, Any] = entrepot.json("distribution", "set", "cache", *limits)["cache"]
    return found


def _evict(entrepot: Entrepot, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = entrepot.json("evict", "--keep", "0", *arguments)
    return found


def _names(result: dict[str, Any], what: str) -> list[str]:
    return sorted(one["name"] for one in result["evicted"] if one["what"] == what)


def test_what_is_not_used_goes_and_comes_again(
    entrepot: Entrepot, server: EntrepotServer, images: dict[str, Manifest], skopeo: Client, tmp_path: Path
) -> None:
    _pull(skopeo, server, tmp_path, *TAGS)
    assert _set(entrepot, "--keep-unused", "1s")["keep_unused_days"] == SECOND
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        wait_until(lambda: len(catalog.pulls.read_one(CACHED)) == 6, 10, "pulls are written")
        last = max(one.last_pulled_at for one in catalog.pulls.read_one(CACHED).values())
        wait_until(lambda: datetime.now(UTC) > last + timedelta(seconds=2), 10, "all of it is unused")
        soon = PullCount(1, datetime.now(UTC) + timedelta(hours=1))
        catalog.pulls.record({Pulled(CACHED, "", images["v2"].digest): soon})  # by digest, as containerd pulls a tag
        layers = {tag: _layer_of(catalog, images[tag]) for tag in TAGS}
        before = catalog.snapshots.get(CACHED)

        planned = _evict(entrepot, "cache", "--dry-run")
        assert catalog.snapshots.get(CACHED).version == before.version
        assert _names(planned, "tag") == ["v1", "v3"]
        assert len(_names(planned, "manifest")) == 4
        assert _names(planned, "layer") == sorted(layers[tag].digest for tag in ("v1", "v3"))
        done = _evict(entrepot)
        assert all(one.pop("reason") for one in (*planned["evicted"], *done["evicted"]))
        named = [sorted(made["evicted"], key=lambda one: one["name"]) for made in (done, planned)]
        assert named[0] == named[1]  # in which order depends on pulls that are counted meanwhile
        assert done["freed_bytes"] == planned["freed_bytes"] == sum(layers[tag].size for tag in ("v1", "v3"))
        state = done["caches"][0]
        assert state["held_before"] - state["held_after"] == done["freed_bytes"]
        assert [catalog.content.size(one.digest) is None for one in layers.values()] == [True, False, True]
        latest = catalog.snapshots.get(CACHED)
        assert latest.tags == {"v2": images["v2"].digest}
        assert latest.manifests.keys() == {images["v2"].digest, images["v2"].manifests[0].digest}
        assert catalog.history.versions(CACHED)[0].operation == "evict"

        _pull(skopeo, server, tmp_path / "again", "v1")  # by the same server, which had it all in memory
        assert catalog.snapshots.get(CACHED).tags.keys() == {"v1", "v2"}
        assert catalog.snapshots.get(CACHED, before.version).tags == before.tags  # to be restored by anybody


def test_a_cache_shrinks_to_its_size(
    entrepot: Entrepot,
    server: EntrepotServer,
    upstream: DockerRegistry,
    images: dict[str, Manifest],
    skopeo: Client,
    tmp_path: Path,
) -> None:
    _pull(skopeo, server, tmp_path, *TAGS, "v1")  # v1 is used last
    assert _set(entrepot, "--max-size", "700kB")["max_size"] == 700_000
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        wait_until(
            lambda: sum(one.pulls for one in catalog.pulls.read_one(CACHED).values()) == 8, 10, "pulls are written"
        )
        layers = {tag: _layer_of(catalog, index) for tag, index in images.items()}
        version = catalog.snapshots.get(CACHED).version
        done = _evict(entrepot)
        assert _names(done, "layer") == [layers["v2"].digest]
        assert done["caches"][0]["held_after"] <= 700_000
        assert catalog.snapshots.get(CACHED).version == version  # tags stay
        _pull(skopeo, server, tmp_path / "again", "v2")
        _set(entrepot, "--max-size", "1")
        upstream.child.kill()
        entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
        stuck = _evict(entrepot)
        assert (stuck["evicted"], len(stuck["kept"])) == ([], 3)
        assert all(catalog.content.size(layer.digest) is not None for layer in layers.values())


def test_what_is_no_cache_cannot_be_named() -> None:
    now = datetime.now(UTC)
    caches = [Distribution(path, "", now, now, remote="registry.example") for path in ("quay", "hub")]
    assert [one.path for one in select_caches(caches, ())] == ["hub", "quay"]
    assert [one.path for one in select_caches(caches, ("q*",))] == ["quay"]
    with pytest.raises(DistributionUnknown, match="no cache fits other"):
        select_caches(caches, ("other",))
