"""Manifests and configs of the sources, each fetched once: for conditions first, for the copy afterwards."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot
from flows.sync.sources import MultipleSources
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound
from oci.manifest import Manifest, parse_manifest

MAX_CACHED = 64 * 1024 * 1024
"""Bytes that are cached in memory where nothing may be stored."""


class CachedReader:
    """Reads the sources of a sync, but not what is held here, and nothing twice. Use it within one event loop.

    What is fetched is staged for `repository`: a copy finds it, and so does the next sync, as long as garbage collection
    leaves it. With `stage` off it is cached in memory, the newest MAX_CACHED bytes.
    """

    def __init__(
        self, sources: MultipleSources, catalog: Catalog, repository: str, *, stage: bool, concurrency: int
    ) -> None:
        self._sources, self._catalog, self._repository, self._stage = sources, catalog, repository, stage
        self._slots = asyncio.Semaphore(concurrency)
        self._fetching: dict[Digest, asyncio.Lock] = {}
        self._cached: OrderedDict[Digest, bytes] = OrderedDict()
        self._bytes = 0
        self._resolved: dict[str, Descriptor | None] = {}

    @property
    def name(self) -> str:
        """The names of the sources."""
        return self._sources.name

    async def resolve(self, reference: str) -> Descriptor:
        """Ask upstream, unless `has_tag` has just done so."""
        if reference not in self._resolved:
            return await self._sources.resolve(reference)
        descriptor = self._resolved.pop(reference)
        if descriptor is None:
            raise RemoteNotFound(f"has no tag {reference}", registry=self.name)
        return descriptor

    async def resolve_again(self, tag: str, known: Descriptor) -> Descriptor:
        """Ask upstream once more for a tag that pointed to `known`."""
        return await self._sources.resolve_again(tag, known)

    async def has_tag(self, tag: str) -> bool:
        """Return whether upstream has a tag, by one HEAD; the response serves the next `resolve` too."""
        if tag not in self._resolved:
            async with self._slots:
                try:
                    self._resolved[tag] = await self._sources.resolve(tag)
                except RemoteNotFound:
                    self._resolved[tag] = None
        return self._resolved[tag] is not None

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest that is held, or fetch it."""
        digest = descriptor.digest

        async def fetch() -> bytes:
            return (await self._sources.read_manifest(descriptor)).raw

        raw = await self._read(digest, descriptor.media_type, fetch)
        return parse_manifest(raw, descriptor.media_type, algorithm=digest.algorithm)

    async def read_config(self, descriptor: Descriptor) -> bytes:
        """Return a small blob that is held, or fetch it; raise RemoteCorrupt for bytes that are not the descriptor's."""

        async def fetch() -> bytes:
            data = bytearray()
            async for chunk in self._sources.read_blob(descriptor):
                data += chunk
            if Digest.of(bytes(data), descriptor.digest.algorithm) != descriptor.digest:
                raise RemoteCorrupt(f"sent a config that is not {descriptor.digest}", registry=self.name)
            return bytes(data)

        return await self._read(descriptor.digest, "", fetch)

    async def _read(self, digest: Digest, media_type: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            async with self._fetching.setdefault(digest, asyncio.Lock()):
                data = self._cached.get(digest) or await asyncio.to_thread(self._held, digest, media_type)
                if data is None:
                    async with self._slots:
                        data = await fetch()
                    await self._keep(digest, media_type, data)
                return data
        finally:
            self._fetching.pop(digest, None)

    def _held(self, digest: Digest, media_type: str) -> bytes | None:
        """Return what the repository has, or anybody may have; what only others hold is fetched like anything else."""
        content, rights = self._catalog.content, self._catalog.rights
        if content.size(digest) is None:
            return None
        base = self._catalog.snapshots.find(self._repository) or Snapshot(self._repository, 0)
        if not (digest in base.manifests or rights.has_received(base, digest)):
            return None
        if self._stage:
            content.lease(self._repository, digest, media_type)
        return content.read(digest)

    async def _keep(self, digest: Digest, media_type: str, data: bytes) -> None:
        if self._stage:
            await asyncio.to_thread(self._catalog.content.put, data, digest, self._repository, media_type)
            return
        self._cached[digest] = data
        self._bytes += len(data)
        while self._bytes > MAX_CACHED:
            self._bytes -= len(self._cached.popitem(last=False)[1])

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Return what refers to a manifest upstream; asked once."""
        async with self._slots:
            return await self._sources.referrers(digest)

    def report_corrupt(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Report a corrupt blob to its source; return whether that has another place to read it from."""
        return self._sources.report_corrupt(error, digest)

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether a source confirms that it has a blob."""
        return await self._sources.proves(digest, origins)

    def delivered_by(self, digest: Digest) -> str:
        """Return the registry that sent a blob."""
        return self._sources.delivered_by(digest)

    def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Read a blob from upstream."""
        return self._sources.read_blob(descriptor)

    def tags(self) -> AsyncIterator[str]:
        """List all tags upstream."""
        return self._sources.tags()
