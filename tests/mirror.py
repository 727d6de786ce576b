"""Content into a registry, and a sync from it, in one call each: for tests that are about what happens before or after."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings, read_settings
from flows.sync.context import SyncContext
from flows.sync.procedure import run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.sources import MultipleSources
from oci.copy import copy_graph
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.homes import new_home
from tests.servers import DockerRegistry


def mirror(home: Path, remote: str, **fields: object) -> SyncResult:
    """Sync a remote into the catalogue of a home."""
    if not home.exists():
        new_home(home, administrator=True)
    settings = read_settings(home=home)
    request = SyncRequest.model_validate({"remote": remote, **fields})

    with open_catalog(settings) as catalog:
        return asyncio.run(synced(catalog, request))


async def synced(
    catalog: Catalog,
    request: SyncRequest,
    *,
    settings: Settings | None = None,
    operation_id: str = "",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> SyncResult:
    """Do a sync as its flow does, without Prefect; upstream is spoken to by `settings`, the catalogue's by default."""
    async with Upstreams(settings or catalog.settings, catalog.remotes) as upstreams:
        sources = await MultipleSources.connect(upstreams, request)
        context = SyncContext.of(request, catalog, sources, operation_id=operation_id or uuid4().hex, clock=clock)
        return await run_sync(context)


def upload(
    registry: DockerRegistry, name: str, tag: str, *texts: str, options: RemoteOptions | None = None
) -> Manifest:
    """Push an index with one image of as many layers as texts under a tag; return the index."""
    store = MemoryStore()
    image = pack_image(store, [{f"file-{number}": text} for number, text in enumerate(texts)])
    index = pack_index(store, [(image, Platform("linux", "amd64"))])

    async def copy() -> None:
        async with RemoteTransport(registry.host, options=options) as transport:
            target = RemoteRepository(transport, name)
            await copy_graph(store, target, index.descriptor)
            await target.write_tag(tag, index)

    asyncio.run(copy())
    return index
