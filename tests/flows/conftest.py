"""An upstream in memory that counts what it is asked, a catalogue of its own, and syncs between the two."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.settings import Settings, read_settings
from catalog.versions.snapshot import Snapshot
from flows.sync.context import SyncContext
from flows.sync.procedure import PLAIN, SyncSteps, run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.sources import Member, MultipleSources
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, NotFound, RemoteNotFound
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot, PrefectServer
from tests.homes import new_home
from tests.servers import Children

REMOTE = "upstream.example/team/app"
NAME = "team/app"


@dataclass
class MemoryUpstream:
    """A MemoryStore that answers as an upstream does. `calls` counts (method, what); `faults` maps the same to errors.

    A fault may also be an awaitable function: it is called before the answer, for whatever the test wants to happen then.
    """

    store: MemoryStore = field(default_factory=lambda: MemoryStore("upstream.example/team/app"))
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: dict[tuple[str, str], EntrepotError | Callable[[], Awaitable[None]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.store.name

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(number for (called, _), number in self.calls.items() if called == method)

    async def _called(self, method: str, what: str) -> None:
        self.calls[method, what] += 1
        await asyncio.sleep(0)  # a network would let others go on here
        fault = self.faults.get((method, what))
        if isinstance(fault, EntrepotError):
            raise fault
        if fault is not None:
            await fault()

    async def tags(self) -> AsyncIterator[str]:
        await self._called("tags", "")
        for tag in self.store.tagged:
            yield tag

    async def resolve(self, reference: str) -> Descriptor:
        await self._called("resolve", reference)
        try:
            return await self.store.resolve(reference)
        except NotFound as error:
            raise RemoteNotFound(str(error), registry="upstream.example") from None

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        await self._called("read_manifest", descriptor.digest)
        try:
            return await self.store.read_manifest(descriptor)
        except NotFound as error:
            raise RemoteNotFound(str(error), registry="upstream.example") from None

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        await self._called("read_blob", descriptor.digest)
        try:
            async for chunk in self.store.read_blob(descriptor):
                yield chunk
        except NotFound as error:
            raise RemoteNotFound(str(error), registry="upstream.example") from None

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        await self._called("referrers", digest)
        found = [manifest for manifest in self.store.manifests.values() if manifest.subject]
        return [manifest.descriptor for manifest in found if manifest.subject and manifest.subject.digest == digest]

    def image(self, tag: str, text: str | None = None) -> Manifest:
        """Put a small image and point a tag to it."""
        manifest = pack_image(self.store, [{"file": text or tag}])
        self.store.put_tag(tag, manifest.digest)
        return manifest


def at_a_fixed_time() -> datetime:
    return datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def upstream() -> MemoryUpstream:
    return MemoryUpstream()


def home_of(tmp_path: Path) -> Path:
    """The home of one test, which its fixtures share."""
    home = tmp_path / "entrepot"
    return home if home.exists() else new_home(home, administrator=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=home_of(tmp_path))


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    with open_catalog(settings) as opened:
        yield opened


@dataclass
class Syncer:
    """Runs syncs without Prefect; each has an operation id of its own unless one is given."""

    catalog: Catalog
    upstream: MemoryUpstream
    runs: int = 0

    def context(self, *, operation_id: str = "", **request: object) -> SyncContext:
        self.runs += 1
        sync_request = SyncRequest.model_validate({"remote": REMOTE, **request})
        return SyncContext.of(
            sync_request,
            self.catalog,
            MultipleSources([Member(sync_request, self.upstream)]),
            operation_id=operation_id or f"run-{self.runs}",
            flow_run_id=operation_id or f"run-{self.runs}",
            clock=at_a_fixed_time,
        )

    async def __call__(self, *, steps: SyncSteps = PLAIN, operation_id: str = "", **request: object) -> SyncResult:
        return await run_sync(self.context(operation_id=operation_id, **request), steps)

    def snapshot(self) -> Snapshot:
        return self.catalog.snapshots.get(NAME)


@pytest.fixture
def sync(catalog: Catalog, upstream: MemoryUpstream) -> Syncer:
    return Syncer(catalog, upstream)


@pytest.fixture
def prefect(session_prefect: PrefectServer) -> PrefectServer:
    """The Prefect server that tests share."""
    return session_prefect


@pytest.fixture
def entrepot(tmp_path: Path, children: Children, prefect: PrefectServer) -> Entrepot:
    """The command over a home of this test, recorded by the shared Prefect server."""
    return Entrepot(home_of(tmp_path), children, {"ENTREPOT_PREFECT_API_URL": prefect.api_url})
