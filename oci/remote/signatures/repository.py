"""A repository elsewhere whose Atomic signatures count among what refers to its manifests, in the form in which we keep them.

They come from the registry's extension, where it has one, and from a lookaside address, where one is known.
"""

import json
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.remote.repository import RemoteRepository
from oci.remote.signatures.lookaside import Lookaside
from oci.signing.atomic import ATOMIC, AtomicSignature, about, pack_atomic, parse_atomic
from oci.signing.pgp_messages import SignatureInvalid, literal_of


class SignedRepository:
    """Reads a repository; what it packs stays in memory for as long as it lives. Use it within one event loop."""

    def __init__(self, source: RemoteRepository, lookaside: Lookaside | None = None) -> None:
        self._source, self._lookaside = source, lookaside
        self._packed = MemoryStore()
        self._ours: set[Digest] = set()
        self.refused: list[str] = []
        """Malformed signatures, as sentences."""

    @property
    def name(self) -> str:
        """host/repository."""
        return self._source.name

    @property
    def listing_may_be_cut(self) -> bool:
        """True where there may be more tags than the last listing has shown."""
        return self._source.listing_may_be_cut

    @property
    def remarks(self) -> list[str]:
        """Return what failed without being needed, as sentences."""
        return self._source.remarks

    def tags(self) -> AsyncIterator[str]:
        """Yield every tag."""
        return self._source.tags()

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest points to now."""
        return await self._source.resolve(reference)

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest, verified."""
        if descriptor.digest in self._packed.manifests:
            return self._packed.manifests[descriptor.digest]
        return await self._source.read_manifest(descriptor)

    def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Return a blob's bytes."""
        source = self._packed if descriptor.digest in self._packed.blobs else self._source
        return source.read_blob(descriptor)

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether the registry is one of `origins` and confirms that it has a blob."""
        return digest not in self._packed.blobs and await self._source.proves(digest, origins)

    def delivered_by(self, digest: Digest) -> str:
        """Return the registry that sent a blob; empty for what was packed here."""
        return "" if digest in self._packed.blobs else self._source.delivered_by(digest)

    def report_corrupt(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Report a corrupt blob; return whether there is another place to read it from."""
        return self._source.report_corrupt(error, digest)

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Return the referrers that the registry lists, and the Atomic signatures that are not among them."""
        if digest in self._ours:
            return ()  # upstream does not know it
        listed = await self._source.referrers(digest)
        signatures, known = await self.signatures(digest), {one.digest for one in listed}
        self._ours -= known
        return [*listed, *(one for one in signatures if one.digest not in known)]

    async def signatures(self, digest: Digest) -> Sequence[Descriptor]:
        """Return the Atomic signatures of a manifest, packed as what refers to it."""
        signatures = [] if digest in self._packed.manifests else await self._signatures(digest)
        if not signatures:
            return ()
        subject = await self._source.read_manifest(await self._source.resolve(digest))
        packed = [pack_atomic(self._packed, one, subject).descriptor for one in signatures]
        self._ours.update(one.digest for one in packed)
        return [replace(one, artifact_type=ATOMIC) for one in packed]

    async def _signatures(self, digest: Digest) -> list[AtomicSignature]:
        """Return all signatures of a manifest, those at both places once."""
        found: dict[bytes, AtomicSignature] = {}
        if await self._source.signatures.is_there():
            for entry in await self._source.signatures.read(digest):
                try:
                    signature = parse_atomic(json.dumps(entry).encode(), digest)
                except SignatureInvalid as error:
                    self.refused.append(f"{digest}: {error.message}")
                else:
                    found.setdefault(signature.content, signature)
        for signature in await self._lookaside.read(digest) if self._lookaside else ():
            try:
                about(literal_of(signature.content), digest)
            except SignatureInvalid as error:
                self.refused.append(f"{digest}: {error.message}")
            else:
                found.setdefault(signature.content, signature)
        return list(found.values())
