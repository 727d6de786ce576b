"""Manifests that are held: their bytes and their parsed form, with the bytes of those read most recently in memory."""

from catalog.blobs.content_store import ContentStore
from catalog.versions.manifest_cache import RawCache
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, ManifestUnknown, StorageCorrupt
from oci.manifest import Manifest, parse_manifest


class Manifests:
    """Reads manifests through a cache of `limit` bytes; usable from any thread. Only `cached` belongs on an event loop."""

    def __init__(self, content: ContentStore, *, limit: int) -> None:
        self._content, self._cache = content, RawCache(limit)
        self.cached = self._cache.get
        """Return a manifest's bytes if memory has them, else None."""

    def raw(self, digest: Digest) -> bytes:
        """Return a manifest's exact bytes; raise ManifestUnknown, or StorageCorrupt when they are recorded but gone."""
        raw = self._cache.get(digest)
        if raw is None:
            try:
                raw = self._content.read(digest)
            except BlobUnknown:
                raise ManifestUnknown(f"manifest {digest} is not held here") from None
            if (
                Digest.of(raw, digest.algorithm) != digest
            ):  # memory would go on serving what a scrub takes from the store
                raise StorageCorrupt(f"manifest {digest} is damaged in the store; `entrepot scrub` deals with it")
            self._cache.keep(digest, raw)
        return raw

    def read(self, digest: Digest, media_type: str) -> Manifest:
        """Return a manifest parsed; raise what `raw` raises, or ManifestInvalid."""
        return parse_manifest(self.raw(digest), media_type, algorithm=digest.algorithm)

    def read_descriptor(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest that a descriptor names, parsed."""
        return self.read(descriptor.digest, descriptor.media_type)
