"""Manifests and configs of an upstream, each fetched once: for conditions first, for the copy afterwards."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Protocol

from catalog.catalog import Catalog
from catalog.versions.snapshot import Snapshot
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound
from oci.manifest import Manifest, parse_manifest
from oci.target import Blamable, Proving, Source

MAX_KEPT = 64 * 1024 * 1024
"""Bytes that are kept in memory where nothing may be stored."""


class Upstream(Source, Protocol):
    """A Source that can say what refers to a manifest."""

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Manifests whose subject is `digest`, none where the registry keeps no such list."""
        ...


class ReadOnce:
    """An upstream that is not asked for a manifest or config that is held here, nor twice for any; use it in one event loop.

    What is fetched is staged for `repository`: a copy finds it, and so does the next sync, as long as garbage collection
    leaves it. With `stage` off it is kept in memory, the newest MAX_KEPT bytes.
    """

    def __init__(self, source: Upstream, catalog: Catalog, repository: str, *, stage: bool, concurrency: int) -> None:
        self._source, self._catalog, self._repository, self._stage = source, catalog, repository, stage
        self._slots = asyncio.Semaphore(concurrency)
        self._fetching: dict[Digest, asyncio.Lock] = {}
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._bytes = 0
        self._asked: dict[str, Descriptor | None] = {}
        self._referrers: dict[Digest, Sequence[Descriptor]] = {}

    @property
    def name(self) -> str:
        """The upstream's name."""
        return self._source.name

    async def resolve(self, reference: str) -> Descriptor:
        """Ask upstream, unless `has_tag` has just done so."""
        if reference not in self._asked:
            return await self._source.resolve(reference)
        found = self._asked.pop(reference)
        if found is None:
            raise RemoteNotFound(f"has no tag {reference}", registry=self.name)
        return found

    async def has_tag(self, tag: str) -> bool:
        """Whether upstream has a tag, by one HEAD; the answer serves the next `resolve` too."""
        if tag not in self._asked:
            async with self._slots:
                try:
                    self._asked[tag] = await self._source.resolve(tag)
                except RemoteNotFound:
                    self._asked[tag] = None
        return self._asked[tag] is not None

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest that is held, or fetch it."""
        digest = descriptor.digest

        async def fetch() -> bytes:
            return (await self._source.read_manifest(descriptor)).raw

        raw = await self._read(digest, descriptor.media_type, fetch)
        return parse_manifest(raw, descriptor.media_type, algorithm=digest.algorithm)

    async def read_config(self, descriptor: Descriptor) -> bytes:
        """Return a small blob that is held, or fetch it; raise RemoteCorrupt for bytes that are not the descriptor's."""

        async def fetch() -> bytes:
            data = bytearray()
            async for chunk in self._source.read_blob(descriptor):
                data += chunk
            if Digest.of(bytes(data), descriptor.digest.algorithm) != descriptor.digest:
                raise RemoteCorrupt(f"sent a config that is not {descriptor.digest}", registry=self.name)
            return bytes(data)

        return await self._read(descriptor.digest, "", fetch)

    async def _read(self, digest: Digest, media_type: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            async with self._fetching.setdefault(digest, asyncio.Lock()):
                found = self._kept.get(digest) or await asyncio.to_thread(self._held, digest, media_type)
                if found is None:
                    async with self._slots:
                        found = await fetch()
                    await self._keep(digest, media_type, found)
                return found
        finally:
            self._fetching.pop(digest, None)

    def _held(self, digest: Digest, media_type: str) -> bytes | None:
        """What the repository has, or anybody may have; what others alone hold is fetched like anything else."""
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
        self._kept[digest] = data
        self._bytes += len(data)
        while self._bytes > MAX_KEPT:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Ask upstream, once."""
        if digest not in self._referrers:
            async with self._slots:
                self._referrers[digest] = await self._source.referrers(digest)
        return self._referrers[digest]

    def blame(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Tell upstream that a blob was another one; whether it has another place to have it from."""
        return isinstance(self._source, Blamable) and self._source.blame(error, digest)

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Ask upstream."""
        return isinstance(self._source, Proving) and await self._source.proves(digest, origins)

    def delivered_by(self, digest: Digest) -> str:
        """As upstream says."""
        return self._source.delivered_by(digest) if isinstance(self._source, Proving) else ""

    def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Read it from upstream."""
        return self._source.read_blob(descriptor)

    def tags(self) -> AsyncIterator[str]:
        """List them upstream."""
        return self._source.tags()
