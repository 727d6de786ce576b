"""A repository of another registry as the target of a push: nothing goes twice; what a neighbour has is mounted from there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import ContextVar
from typing import Protocol

import httpx

from flows.runs.metering import Meter
from flows.runs.progress import Progress
from oci import mediatypes
from oci.copy import Transfer
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.manifest import Manifest
from oci.remote.repository import RemoteRepository

MAX_KNOWN = 500_000
"""Number of blobs whose repositories are remembered."""

pushed: ContextVar[Meter] = ContextVar("pushed")
"""The meter to charge: set where a root is pushed, and inherited by tasks started there."""


class Neighbours:
    """Which repositories of a registry are known to hold which blobs. Use it within one event loop."""

    def __init__(self) -> None:
        self._where: dict[Digest, str] = {}
        self._later: list[tuple[str, Callable[[], Iterable[Digest]]]] = []
        self._looking = asyncio.Lock()

    def add(self, repository: str, digest: Digest) -> None:
        """Note that a repository holds a blob."""
        if len(self._where) < MAX_KNOWN:
            self._where.setdefault(digest, repository)

    def add_later(self, repository: str, blobs: Callable[[], Iterable[Digest]]) -> None:
        """Note that a repository holds blobs; they are only looked up, on a thread, when a blob is searched for."""
        self._later.append((repository, blobs))

    async def find(self, digest: Digest, *, beside: str) -> str | None:
        """Return another repository that holds a blob; None where none is known."""
        async with self._looking:
            while digest not in self._where and self._later:
                repository, blobs = self._later.pop(0)
                for one in await asyncio.to_thread(blobs):
                    self.add(repository, one)
        found = self._where.get(digest)
        return None if found == beside else found


class Rereadable(Protocol):
    """A Source whose blobs can be read from any byte on, as often as is asked."""

    def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob's bytes from `start` on."""
        ...


class PushTarget:
    """Writes into a repository of another registry; in a dry run it only says what would be written."""

    def __init__(
        self, remote: RemoteRepository, neighbours: Neighbours, progress: Progress, *, dry_run: bool = False
    ) -> None:
        self._remote, self._neighbours, self._progress, self._dry_run = remote, neighbours, progress, dry_run
        self._sessions: dict[Digest, httpx.URL] = {}
        self.mounted = 0

    @property
    def name(self) -> str:
        """host/repository."""
        return self._remote.name

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the repository has it; a blob that a neighbour has is mounted."""
        if descriptor.media_type in mediatypes.MANIFESTS:
            return await self._remote.has(descriptor)
        digest, repository = descriptor.digest, self._remote.repository
        neighbour = await self._neighbours.find(digest, beside=repository)
        if neighbour is not None:
            if not self._dry_run:
                session = await self._remote.uploads.mount(descriptor, neighbour)
                if session is not None:
                    self._sessions[digest] = session
                    return False
            self.mounted += 1
            return True
        found = await self._remote.has(descriptor)
        if found:
            self._neighbours.add(repository, digest)
        return found

    def transfer_from(self, source: Rereadable) -> Transfer:
        """Moves a blob that the repository lacks, and goes on where it breaks off."""

        async def transfer(descriptor: Descriptor) -> None:
            async def read(start: int) -> AsyncIterator[bytes]:
                async for chunk in source.read_blob(descriptor, start):
                    self._progress.count_bytes(len(chunk))
                    yield chunk

            if not self._dry_run:
                session = self._sessions.pop(descriptor.digest, None)
                await self._remote.uploads.upload(descriptor, read, session=session)
            self._neighbours.add(self._remote.repository, descriptor.digest)
            charge(descriptor.size)

        return transfer

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Upload a blob in one go."""
        await self._remote.write_blob(descriptor, chunks)

    async def write_manifest(self, manifest: Manifest) -> None:
        """Put a manifest under its digest."""
        if not self._dry_run:
            await self._remote.write_manifest(manifest)
        charge(manifest.size)

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Put a manifest under a tag."""
        if not self._dry_run:
            await self._remote.write_tag(tag, manifest)


def charge(size: int) -> None:
    """Count one item for the root that is being pushed."""
    charged = pushed.get()
    charged.items += 1
    charged.bytes += max(size, 0)
