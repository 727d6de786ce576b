"""What conditions on content cost, counted at the wire; and that they do their work on a real registry."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.curate.request import CurateRequest
from flows.replicate.request import ReplicateRequest
from flows.sync.request import SyncRequest
from oci.copy import copy_graph
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.conftest import DockerRegistryFactory
from tests.mirror import mirror
from tests.upstream import Upstream

NAME, COUNT = "team/app", 12


@pytest.fixture
def store() -> MemoryStore:
    """Every other image is of stage prod; number 0 has a signature that refers to it."""
    store = MemoryStore(NAME)
    for number in range(COUNT):
        labels = {"Labels": {"stage": "prod" if number % 2 else "test"}}
        image = pack_image(store, [{"file": str(number)}], config=labels, created=f"2026-01-{number + 1:02}T00:00:00Z")
        store.put_tag(f"1.{number}", image.digest)
    first = store.manifests[store.tagged["1.0"]]
    pack_artifact(store, "application/vnd.cncf.notary.signature", subject=first)
    return store


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as served:
        served.has_referrers = True
        yield served


def tags(home: Path) -> set[str]:
    with open_catalog(read_settings(home=home)) as catalog:
        return set(catalog.snapshots.get(NAME).tags)


def asked(upstream: Upstream) -> Counter[tuple[str, str]]:
    counts = Counter({(method, str(route)): count for (method, route), count in upstream.counts.items()})
    del counts["GET", "base"], counts["GET", "tags"]
    upstream.forget()
    return counts


def test_one_manifest_and_one_config_of_each_new_digest_and_a_head_of_each_that_is_known(
    upstream: Upstream, tmp_path: Path
) -> None:
    remote = f"{upstream.host}/{NAME}"
    options = {"labels": ["stage=prod"], "companions": []}
    mirror(tmp_path, remote, **options)
    good = COUNT // 2
    assert tags(tmp_path) == {f"1.{number}" for number in range(1, COUNT, 2)}
    first = {("HEAD", "manifest"): COUNT, ("GET", "manifest"): COUNT, ("GET", "blob"): COUNT + good}
    assert asked(upstream) == first
    for _ in range(2):
        mirror(tmp_path, remote, **options)
        assert asked(upstream) == {("HEAD", "manifest"): COUNT}


def test_signed_costs_one_request_of_each_that_is_not_known_to_be(upstream: Upstream, tmp_path: Path) -> None:
    remote = f"{upstream.host}/{NAME}"
    mirror(tmp_path, remote, signed=True)
    assert tags(tmp_path) == {"1.0"}
    first = {
        ("HEAD", "manifest"): COUNT,
        ("GET", "referrers"): COUNT + 1,  # what refers to the signature
        ("GET", "manifest"): 2,
        ("GET", "blob"): 3,
    }
    assert asked(upstream) == first
    mirror(tmp_path, remote, signed=True)
    assert asked(upstream) == {("HEAD", "manifest"): COUNT, ("GET", "referrers"): COUNT - 1}


def test_the_newest_ask_for_no_more_than_decides(upstream: Upstream, tmp_path: Path) -> None:
    mirror(tmp_path, f"{upstream.host}/{NAME}", labels=["stage=test"], newest=1, companions=[])
    assert tags(tmp_path) == {"1.10"}
    assert asked(upstream) == {("HEAD", "manifest"): 2, ("GET", "manifest"): 2, ("GET", "blob"): 3}


def test_a_real_registry(docker_registry: DockerRegistryFactory, store: MemoryStore, tmp_path: Path) -> None:
    registry = docker_registry()
    children = [store.manifests[store.tagged[tag]] for tag in ("1.1", "1.2")]
    platforms = (Platform("linux", "amd64"), Platform("linux", "arm64"))
    store.put_tag("multi", pack_index(store, list(zip(children, platforms, strict=True))).digest)

    async def push() -> None:
        async with RemoteTransport(registry.host) as transport:
            target = RemoteRepository(transport, NAME)
            for tag, digest in store.tagged.items():
                await copy_graph(store, target, store.manifests[digest].descriptor)
                await target.write_tag(tag, store.manifests[digest])

    asyncio.run(push())
    remote = f"{registry.host}/{NAME}"
    mirror(tmp_path, remote, mode="mirror", types=["index"], labels=["stage=prod"])
    assert tags(tmp_path) == {"multi"}
    mirror(tmp_path, remote, mode="mirror", newer_than="2026-01-10T12:00", labels=["stage!=test"])
    assert tags(tmp_path) == {"1.11"}
    mirror(tmp_path, remote, mode="mirror", newest=2, newest_by="created", exclude=["1.1*"])
    assert tags(tmp_path) == {"1.9", "1.8"}


def test_requests_that_were_saved_before_there_were_conditions() -> None:
    patterns = {
        "include": ["v1.*"],
        "exclude": ["*-rc*"],
        "newest": 3,
        "newest_of": "minor",
        "platforms": ["linux/arm64"],
    }
    sync = SyncRequest.model_validate({"remote": f"upstream.example/{NAME}", "newest_of": "minor"})
    assert not sync.wanted.asks_content
    curate = CurateRequest.model_validate({"repository": "a", "sources": ["b"], **patterns})
    assert not curate.wanted.asks_content
    assert (curate.wanted.tags.newest, curate.wanted.tags.line) == (3, "minor")
    assert not ReplicateRequest.model_validate(
        {"upstream": "upstream.example", "labels": ["a"]}
    ).tags.wanted.asks_content
