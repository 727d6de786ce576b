"""The catalogue as the two ends of a copy: a repository's content to write into, one version to read from."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

from catalog.blobs.threads import run_shielded
from catalog.blobs.uploads import UploadSession
from catalog.catalog import Catalog
from catalog.versions.needed_blobs import contradicts
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.ambiguity import check_unambiguous
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, SizeInvalid
from oci.manifest import Manifest
from oci.target import Proving, Source, Target

_WRITE = 1024 * 1024
_READ = 1024 * 1024


class RepositoryTarget:
    """Takes content in for one repository and leases it; a commit makes a version of it afterwards.

    `base` is the version the copy is planned on: what it holds is skipped, unless it is one of `incomplete`, indexes of which
    more is wanted than the base holds. `source` is where the copy comes from: a registry may prove that it has a blob which is
    held here for others; from anything else the bytes are read and verified. Tags are only noted, in `tags`.
    """

    def __init__(
        self,
        catalog: Catalog,
        base: Snapshot,
        incomplete: frozenset[Digest] = frozenset(),
        *,
        source: object = None,
    ) -> None:
        self._catalog, self._base, self._incomplete = catalog, base, incomplete
        self._source = source if isinstance(source, Proving) else None
        self._content, self._rights = catalog.content, catalog.rights
        self.tags: dict[str, Digest] = {}

    @property
    def name(self) -> str:
        """The repository's name."""
        return self._base.repository

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the content is in the base or staged already, or is held and may be used: see `catalog.rights`.

        Raises SizeInvalid when a blob that may be used has another size than the descriptor says.
        """
        digest = descriptor.digest
        if digest in self._incomplete:
            return False
        if digest in self._base.manifests:
            return True
        if descriptor.media_type in mediatypes.MANIFESTS:
            return await self._has_staged(descriptor)
        if digest in self._base.blobs and digest not in self._base.deferred:
            return self._content.size(digest) is not None
        # The same is looked up for what is absent and for what others hold: the time it takes is to tell nothing.
        if not await self._may_use(digest) or (size := self._content.size(digest)) is None:
            return False
        if contradicts(descriptor.size, size):
            raise SizeInvalid(f"the manifest says {digest} has {descriptor.size} bytes; it has {size}")
        return await asyncio.to_thread(self._content.lease, self.name, digest)

    async def _may_use(self, digest: Digest) -> bool:
        """Return whether the repository has a blob that is held, or gets it without its bytes being sent once more."""
        if self._rights.has_received(self._base, digest):
            return True
        if await asyncio.to_thread(self._rights.take_public, self.name, digest):
            return True
        origins = self._content.origins(digest) if self._source else frozenset()
        if not origins or self._source is None or not await self._source.proves(digest, origins):
            return False
        return await asyncio.to_thread(self._rights.take_proven, self.name, digest)

    async def _has_staged(self, descriptor: Descriptor) -> bool:
        """Return whether an earlier copy has staged the manifest and all of it is still held; its leases are made young again."""
        if not await asyncio.to_thread(self._content.lease, self.name, descriptor.digest, descriptor.media_type):
            return False
        manifest = await asyncio.to_thread(self._catalog.manifests.read, descriptor.digest, descriptor.media_type)
        for _role, child in manifest.children():
            if not mediatypes.is_nondistributable(child.media_type) and not await self.has(child):
                return False
        return True

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Keep a blob; raise DigestInvalid or SizeInvalid, and keep nothing, where the bytes are not the descriptor's."""
        expected = None if descriptor.size == UNKNOWN_SIZE else descriptor.size
        begun: list[UploadSession] = []  # a list: a cancellation may come before the session is returned
        try:
            await run_shielded(lambda: begun.append(self._catalog.uploads.begin(self.name)))
            await _fill(begun[0], chunks, expected)
            origin = self._source.delivered_by(descriptor.digest) if self._source else ""
            await run_shielded(partial(begun[0].finish, descriptor.digest, expected, origin=origin))
            await run_shielded(self._rights.note_taken, self.name, descriptor.digest)
        finally:
            for session in begun:
                session.cancel()

    async def write_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest whose children are all staged; raise ManifestInvalid for one that clients read differently."""
        check_unambiguous(manifest.raw)
        await asyncio.to_thread(
            self._content.put, manifest.raw, manifest.digest, self.name, media_type=manifest.media_type
        )

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Note the tag for the commit to come."""
        self.tags[tag] = manifest.digest


async def _fill(session: UploadSession, chunks: AsyncIterator[bytes], expected: int | None) -> None:
    """Write in large pieces off the event loop; stop at once where more comes than was announced."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        if expected is not None and session.offset + len(pending) > expected:
            raise SizeInvalid(f"expected {expected} bytes, got more")
        if len(pending) >= _WRITE:
            await run_shielded(session.write, pending)
            pending = bytearray()
    if pending:
        await run_shielded(session.write, pending)


class RepositorySource:
    """Reads one version of a repository."""

    def __init__(self, catalog: Catalog, snapshot: Snapshot) -> None:
        self._catalog, self._snapshot = catalog, snapshot

    @property
    def name(self) -> str:
        """The repository and its version."""
        return f"{self._snapshot.repository} version {self._snapshot.version}"

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest text points to; raise ManifestUnknown."""
        digest = self._snapshot.resolve(reference)
        entry = self._snapshot.manifests[digest]
        return Descriptor(entry.media_type, digest, entry.size, artifact_type=entry.artifact_type)

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest of the version."""
        self._snapshot.resolve(descriptor.digest)
        return await asyncio.to_thread(self._catalog.manifests.read, descriptor.digest, descriptor.media_type)

    async def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob of the version, its bytes from `start` on."""
        if self._catalog.rights.usable_size(self._snapshot, descriptor.digest) is None:
            raise BlobUnknown(f"blob {descriptor.digest} is not in {self.name}, or not here yet")
        with self._catalog.content.open(descriptor.digest) as reader:
            offset = start
            while offset < reader.size:
                chunk = await asyncio.to_thread(reader.read_at, offset, _READ)
                offset += len(chunk)
                yield chunk

    async def tags(self) -> AsyncIterator[str]:
        """Yield the version's tags in ASCII order."""
        for tag in self._snapshot.sorted_tags:
            yield tag


def _check_ends(target: RepositoryTarget, source: RepositorySource) -> tuple[Target, Source]:
    """Let the type checker hold both classes against the protocols."""
    return target, source
