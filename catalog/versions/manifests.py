"""Manifests that are held: their bytes and their parsed form, with the bytes of those read most recently in memory."""

import threading
from collections import OrderedDict

from catalog.blobs.content_store import ContentStore
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, ManifestUnknown, StorageCorrupt
from oci.manifest import Manifest, parse_manifest


class RawCache:
    """Manifests' bytes, the least recently used dropped beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, digest: Digest) -> bytes | None:
        """Return the bytes if they are kept, else None."""
        with self._guard:
            raw = self._kept.get(digest)
            if raw is not None:
                self._kept.move_to_end(digest)
            return raw

    def keep(self, digest: Digest, raw: bytes) -> None:
        """Keep bytes, whatever else has to go."""
        with self._guard:
            if digest in self._kept or len(raw) > self._limit:
                return
            self._kept[digest] = raw
            self._held += len(raw)
            while self._held > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._held -= len(dropped)


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

    def keep(self, manifest: Manifest) -> None:
        """Keep the bytes of a manifest that has just been stored."""
        self._cache.keep(manifest.digest, manifest.raw)

    def read(self, digest: Digest, media_type: str) -> Manifest:
        """Return a manifest parsed; raise what `raw` raises, or ManifestInvalid."""
        return parse_manifest(self.raw(digest), media_type, algorithm=digest.algorithm)

    def read_descriptor(self, descriptor: Descriptor) -> Manifest:
        """Return the manifest that a descriptor names, parsed."""
        return self.read(descriptor.digest, descriptor.media_type)
