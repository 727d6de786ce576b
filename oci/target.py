"""The two ends of every copy. A pull, push, sync, export, import or replication chooses a Source and a Target."""

from collections.abc import AsyncIterator, Collection
from typing import Protocol, runtime_checkable

from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt
from oci.manifest import Manifest


class Source(Protocol):
    """Where content comes from; `name` says in an error which side failed."""

    @property
    def name(self) -> str: ...

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest text points to now; raise NotFound or RemoteNotFound."""
        ...

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest, its bytes verified against the descriptor's digest."""
        ...

    def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Yield the blob's bytes in order; the reader verifies them."""
        ...

    def tags(self) -> AsyncIterator[str]:
        """Yield every tag in the order of the source."""
        ...


@runtime_checkable
class CorruptionAware(Protocol):
    """A Source that accepts reports of corrupt bytes."""

    def report_corrupt(self, error: RemoteCorrupt, digest: Digest) -> bool:
        """Report that the bytes last read for a blob were corrupt; return whether reading it again may give other bytes."""
        ...


@runtime_checkable
class Proving(Protocol):
    """A Source that can prove that it has a blob without sending it again."""

    async def proves(self, digest: Digest, origins: Collection[str]) -> bool:
        """Return whether one of the registries in `origins` (scheme, host, port) is read here, and confirms that it has the blob.

        They have sent it before: only such a one can be believed, for any other might know the digest alone. Raises nothing.
        """
        ...

    def delivered_by(self, digest: Digest) -> str:
        """Return the registry that sent all bytes of the blob that was read last under the digest; empty where several did."""
        ...


class Target(Protocol):
    """Where content goes. Every method is idempotent by digest, so that a copy broken off can be made again."""

    @property
    def name(self) -> str: ...

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the content is held; for a manifest, whether all its parts are held too."""
        ...

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Keep a blob; raise DigestInvalid or SizeInvalid and keep nothing where the bytes are not the descriptor's."""
        ...

    async def write_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest whose children are all held."""
        ...

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Point a tag to a manifest that is held."""
        ...
