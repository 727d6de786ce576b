"""A catalogue, a real docker-registry behind a proxy that counts and breaks off, and what tests of pushing ask of them."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings, read_settings
from catalog.signing.stored import stage
from catalog.versions.changes import AddManifest, SetTag
from flows.push.context import PushContext
from flows.push.procedure import run_push
from flows.push.report import PushResult
from flows.push.request import PushRequest
from oci.digest import Digest
from oci.manifest import Manifest
from oci.mediatypes import ACCEPT
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image
from oci.remote.referrers_tag import fallback_tag
from tests.conftest import EntrepotFactory
from tests.proxy import Proxy
from tests.servers import Children, DockerRegistry, EntrepotServer, get, start_docker_registry
from tests.unit.catalog.conftest import commit_to

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LARGE = bytes(range(256)) * 40_000  # 10 MB, which compression would shrink

Push = Callable[..., PushResult]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings(home=tmp_path_factory.mktemp("home") / "entrepot", upstream_attempts=2)


@pytest.fixture(scope="module")
def catalog(settings: Settings) -> Iterator[Catalog]:
    """One for all tests, each of which has repositories of its own."""
    with open_catalog(settings) as opened:
        yield opened


def run(catalog: Catalog, **fields: object) -> PushResult:
    """Push without Prefect."""

    async def whole() -> PushResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            return await run_push(PushContext(PushRequest.model_validate(fields), catalog, upstreams))

    return asyncio.run(whole())


@pytest.fixture
def push(catalog: Catalog) -> Push:
    return lambda **fields: run(catalog, **fields)


@pytest.fixture(scope="module")
def registry(module_children: Children) -> DockerRegistry:
    """Tests push to repositories of their own in it."""
    return start_docker_registry(module_children)


@pytest.fixture(scope="module")
def second(module_entrepot_server: EntrepotFactory) -> EntrepotServer:
    return module_entrepot_server()


@pytest.fixture
def proxy(registry: DockerRegistry) -> Iterator[Proxy]:
    with Proxy(registry.url) as served:
        yield served


def add(catalog: Catalog, name: str, store: MemoryStore, **tags: Manifest) -> None:
    """A version with all that a store holds, and these tags."""
    stage(catalog, name, store)
    changes = [AddManifest(manifest.descriptor) for manifest in store.manifests.values()]
    commit_to(
        catalog,
        name,
        *changes,
        *(SetTag(tag, manifest.digest) for tag, manifest in tags.items()),
        operation_id=f"{name} {sorted(tags)}",
    )


def image(catalog: Catalog, name: str, tag: str, *texts: str) -> Manifest:
    store = MemoryStore()
    made = pack_image(store, [{f"file-{number}": text} for number, text in enumerate(texts or (tag,))])
    add(catalog, name, store, **{tag: made})
    return made


def digest_at(host: str, name: str, reference: str) -> str | None:
    """What a tag of a registry points to."""
    response = httpx.get(f"http://{host}/v2/{name}/manifests/{reference}", headers={"accept": ACCEPT}, trust_env=False)
    return None if response.status_code == 404 else str(Digest.of(response.content))


def list_at(host: str, name: str, subject: Digest) -> dict[str, Any]:
    """What stands under the fallback tag of a manifest."""
    url = f"http://{host}/v2/{name}/manifests/{fallback_tag(subject)}"
    return dict(httpx.get(url, headers={"accept": ACCEPT}, trust_env=False).json())


def tags_at(host: str, name: str) -> list[str]:
    return sorted(get(f"http://{host}/v2/{name}/tags/list").json().get("tags") or [])


def actions(result: PushResult) -> dict[str, str]:
    return {f"{one.path}:{item.tag}": item.action for one in result.paths for item in one.items}


def big(catalog: Catalog, name: str) -> tuple[Manifest, Digest]:
    """An artifact of one large blob under `v1`."""
    store = MemoryStore()
    made = pack_artifact(store, "application/vnd.test", [("application/octet-stream", LARGE)])
    add(catalog, name, store, v1=made)
    return made, made.layers[0].digest
