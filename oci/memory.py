"""A small store in memory: a Source and a Target for content that is made, tested or served by a program."""

from collections.abc import AsyncIterator

from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, DigestInvalid, ManifestUnknown, SizeInvalid
from oci.manifest import Manifest, parse_manifest
from oci.reference import parse_tag

_CHUNK = 64 * 1024


class MemoryStore:
    """Blobs, manifests and tags of one repository."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, Manifest] = {}
        self.tagged: dict[str, Digest] = {}

    @property
    def name(self) -> str:
        """The name of this store in errors."""
        return self._name

    def put_blob(self, data: bytes, media_type: str, *, algorithm: str = "sha256") -> Descriptor:
        """Keep a blob."""
        digest = Digest.of(data, algorithm)
        self.blobs[digest] = data
        return Descriptor(media_type, digest, len(data))

    def put_manifest(self, raw: bytes, media_type: str) -> Manifest:
        """Keep a manifest."""
        manifest = parse_manifest(raw, media_type)
        self.manifests[manifest.digest] = manifest
        return manifest

    def put_tag(self, tag: str, digest: Digest) -> None:
        """Point a tag to a manifest that is held; raise ManifestUnknown."""
        if digest not in self.manifests:
            raise ManifestUnknown(f"manifest {digest} is not in {self.name}")
        self.tagged[parse_tag(tag)] = digest

    async def resolve(self, reference: str) -> Descriptor:
        """Return what a tag or digest text points to; raise ManifestUnknown."""
        manifest = self.manifests.get(self.tagged.get(reference, Digest(reference)))
        if manifest is None:
            raise ManifestUnknown(f"{reference[:200]!r} is not in {self.name}")
        return manifest.descriptor

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest; raise ManifestUnknown."""
        await self.resolve(descriptor.digest)
        return self.manifests[descriptor.digest]

    async def read_blob(self, descriptor: Descriptor) -> AsyncIterator[bytes]:
        """Yield a blob; raise BlobUnknown."""
        data = self.blobs.get(descriptor.digest)
        if data is None:
            raise BlobUnknown(f"blob {descriptor.digest} is not in {self.name}")
        for start in range(0, len(data), _CHUNK):
            yield data[start : start + _CHUNK]

    async def tags(self) -> AsyncIterator[str]:
        """Yield the tags in ASCII order."""
        for tag in sorted(self.tagged):
            yield tag

    async def has(self, descriptor: Descriptor) -> bool:
        """Return whether the blob or manifest is held."""
        return descriptor.digest in self.manifests or descriptor.digest in self.blobs

    async def write_blob(self, descriptor: Descriptor, chunks: AsyncIterator[bytes]) -> None:
        """Keep a blob; raise DigestInvalid or SizeInvalid where the bytes are not the descriptor's."""
        data = b"".join([chunk async for chunk in chunks])
        if descriptor.size not in (len(data), UNKNOWN_SIZE):
            raise SizeInvalid(f"expected {descriptor.size} bytes of {descriptor.digest}, got {len(data)}")
        found = Digest.of(data, descriptor.digest.algorithm)
        if found != descriptor.digest:
            raise DigestInvalid(f"expected {descriptor.digest}, but the {len(data)} bytes received are {found}")
        self.blobs[found] = data

    async def write_manifest(self, manifest: Manifest) -> None:
        """Keep a manifest."""
        self.manifests[manifest.digest] = manifest

    async def write_tag(self, tag: str, manifest: Manifest) -> None:
        """Point a tag to a manifest that is held."""
        self.put_tag(tag, manifest.digest)
