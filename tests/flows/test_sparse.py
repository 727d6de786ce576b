"""An index that is here without some of its children, as after a sync of some platforms: replicated, synced and pushed."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.push.context import PushContext
from flows.push.procedure import run_push
from flows.push.report import PushFailed, PushResult
from flows.push.request import PushRequest
from flows.replicate.procedure import ReplicateJob, run_replication
from flows.replicate.request import ReplicateRequest, ReplicateResult
from flows.sync.context import SyncContext
from flows.sync.procedure import run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.resolution import TagsFailed
from flows.sync.sources import MultipleSources
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.servers import EntrepotServer
from tests.upstream import Upstream

NAME = "team/app"
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def filled() -> tuple[MemoryStore, Manifest, dict[Platform, Manifest]]:
    """`v1`, an index of two platforms, and `plain`, an image."""
    store = MemoryStore()
    images = {platform: pack_image(store, [{"file": str(platform)}]) for platform in (AMD64, ARM64)}
    index = pack_index(store, [(image, platform) for platform, image in images.items()])
    store.put_tag("v1", index.digest)
    store.put_tag("plain", pack_image(store, [{"file": "plain"}]).digest)
    return store, index, images


@pytest.fixture
def content() -> tuple[MemoryStore, Manifest, dict[Platform, Manifest]]:
    return filled()


@pytest.fixture
def origin(content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]]) -> Iterator[Upstream]:
    with Upstream({NAME: content[0]}) as upstream:
        yield upstream


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(read_settings(home=tmp_path / "first", upstream_attempts=1)) as opened:
        yield opened


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(read_settings(home=tmp_path / "second", upstream_attempts=1)) as opened:
        yield opened


def sync(catalog: Catalog, host: str, **fields: object) -> SyncResult:
    request = SyncRequest.model_validate({"remote": f"http://{host}/{NAME}", **fields})

    async def whole() -> SyncResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            sources = await MultipleSources.connect(upstreams, request)
            run_id = str(uuid.uuid4())
            return await run_sync(
                SyncContext.of(request, catalog, sources, operation_id=run_id, clock=lambda: datetime.now(UTC))
            )

    return asyncio.run(whole())


def replicate(catalog: Catalog, host: str, **fields: object) -> ReplicateResult:
    request = ReplicateRequest.model_validate({"upstream": f"http://{host}", **fields})

    async def whole() -> ReplicateResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            return await run_replication(ReplicateJob(request, catalog, upstreams, str(uuid.uuid4())))

    return asyncio.run(whole())


def push(catalog: Catalog, target: str, **fields: object) -> PushResult:
    request = PushRequest.model_validate({"target": f"http://{target}", "source": NAME, **fields})

    async def whole() -> PushResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            return await run_push(PushContext(request, catalog, upstreams))

    return asyncio.run(whole())


def held(catalog: Catalog) -> set[Digest]:
    return set(catalog.snapshots.get(NAME).manifests)


@pytest.fixture
def sparse(catalog: Catalog, origin: Upstream, entrepot_server: EntrepotFactory) -> EntrepotServer:
    """Serves what a sync of one platform has brought."""
    sync(catalog, origin.host, platforms=["linux/amd64"])
    return entrepot_server(catalog.settings.root)


def test_downstream_syncs_take_it_as_it_is(
    sparse: EntrepotServer, second: Catalog, content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]]
) -> None:
    images = content[2]
    dry = sync(second, sparse.host, dry_run=True)
    assert dry.counts["added"] == 2
    result = sync(second, sparse.host, mode="mirror")
    assert (result.failed, result.counts["added"]) == ({}, 2)
    assert any(images[ARM64].digest in note for note in result.notes)
    assert images[AMD64].digest in held(second)
    assert images[ARM64].digest not in held(second)
    again = sync(second, sparse.host, mode="mirror")
    assert (again.changed, again.counts["unchanged"]) == (False, 2)
    with pytest.raises(TagsFailed, match="made without it"):  # a platform that was asked for is not left out silently
        sync(second, sparse.host, platforms=["linux/arm64"])
    labelled = sync(second, sparse.host, repository="team/labelled", types=["index"])
    assert labelled.counts["added"] == 1


def test_what_comes_upstream_later_comes_here_too(
    sparse: EntrepotServer,
    catalog: Catalog,
    second: Catalog,
    origin: Upstream,
    content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]],
) -> None:
    sync(second, sparse.host)
    sync(catalog, origin.host)
    result = sync(second, sparse.host)
    assert (result.changed, result.counts["completed"]) == (True, 1)
    assert content[2][ARM64].digest in held(second)


def test_replications_take_it_as_it_is(sparse: EntrepotServer, second: Catalog) -> None:
    result = replicate(second, sparse.host)
    assert [(one.path, one.action) for one in result.replicas] == [(NAME, "added")]
    assert [one.action for one in replicate(second, sparse.host).replicas] == ["unchanged"]


def test_an_index_whose_child_upstream_has_lost_is_not_sparse(
    origin: Upstream, second: Catalog, content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]]
) -> None:
    store, _, images = content
    del store.manifests[images[ARM64].digest]
    with pytest.raises(TagsFailed, match="v1"):
        sync(second, origin.host)
    skipped = sync(second, origin.host, on_error="skip")
    assert (set(skipped.failed), skipped.counts["added"]) == ({"v1"}, 1)


def test_a_target_that_takes_it_gets_it_as_it_is(
    catalog: Catalog,
    origin: Upstream,
    entrepot_server: EntrepotFactory,
    tmp_path: Path,
    content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENTREPOT_SPARSE_REPOSITORIES", "copy/*")
    target = entrepot_server(tmp_path / "target")
    sync(catalog, origin.host, platforms=["linux/amd64"])
    monkeypatch.setenv("ENTREPOT_LOGINS", f'{{"{target.host}": "{target.creds}"}}')
    with open_catalog(read_settings(home=catalog.settings.root)) as opened:
        result = push(opened, f"{target.host}/copy/app")
    assert (result.failed, result.notes) == ({}, ())
    assert found(target.host, "copy/app", "v1") == 200
    assert found(target.host, "copy/app", content[2][ARM64].digest) == 404


def test_a_target_that_wants_all_gets_it_whole_from_upstream(
    catalog: Catalog,
    origin: Upstream,
    docker_registry: DockerRegistryFactory,
    content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]],
) -> None:
    registry, images = docker_registry(), content[2]
    sync(catalog, origin.host, platforms=["linux/amd64"])
    result = push(catalog, f"{registry.host}/{NAME}")
    assert result.failed == {}
    assert "these were pushed from upstream" in result.notes[0]
    assert found(registry.host, NAME, images[ARM64].digest) == 200
    assert images[ARM64].digest not in held(catalog)  # nothing of it is kept here
    assert push(catalog, f"{registry.host}/{NAME}").counts == {"unchanged": 2}


def test_without_a_source_it_is_skipped_by_name(
    catalog: Catalog,
    origin: Upstream,
    docker_registry: DockerRegistryFactory,
    content: tuple[MemoryStore, Manifest, dict[Platform, Manifest]],
) -> None:
    registry, (store, _, images) = docker_registry(), content
    sync(catalog, origin.host, platforms=["linux/amd64"])
    del store.manifests[images[ARM64].digest]
    with pytest.raises(PushFailed, match=f"{NAME}:v1"):
        push(catalog, f"{registry.host}/{NAME}")
    assert found(registry.host, NAME, "plain") == 404
    skipped = push(catalog, f"{registry.host}/{NAME}", on_error="skip")
    assert (set(skipped.failed), skipped.counts) == ({f"{registry.host}/{NAME}:v1"}, {"failed": 1, "added": 1})
    assert found(registry.host, NAME, "plain") == 200


def found(host: str, name: str, reference: str) -> int:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    url = f"http://{host}/v2/{name}/manifests/{reference}"
    return httpx.get(url, headers={"accept": accept}, trust_env=False).status_code
