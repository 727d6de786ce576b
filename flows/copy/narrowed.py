"""A source of which only some platforms are copied: its indexes list these alone, and have digests of their own."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from catalog.filters.platforms import PlatformFilter
from flows.push.target import Rereadable
from flows.sync.sources import Upstream
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.manifest import Manifest, parse_manifest


class CopySource(Rereadable, Upstream, Protocol):
    """A Source that lists referrers, and whose blobs can be read from any byte on."""


def narrow_index(index: Manifest, platforms: PlatformFilter) -> Manifest:
    """Return an index with the children of some platforms alone; itself where it has no others. All else stays as it is.

    Raises InvalidInput where it has none of them.
    """
    kept = {child.digest for _role, child in platforms.children_of_some(index)}
    if len(kept) == len({child.digest for _role, child in index.children()}):
        return index
    document = json.loads(index.raw)
    document["manifests"] = [one for one in document["manifests"] if one.get("digest") in kept]
    raw = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return parse_manifest(raw, index.media_type, algorithm=index.digest.algorithm)


class NarrowedSource:
    """Reads a source through a filter of platforms. Use it within one event loop."""

    def __init__(self, source: CopySource, platforms: PlatformFilter) -> None:
        self._source, self._platforms = source, platforms
        self._narrowed: dict[Digest, Manifest] = {}

    @property
    def name(self) -> str:
        """The name of the source."""
        return self._source.name

    @property
    def changes_indexes(self) -> bool:
        """Return whether an index has become another one."""
        return bool(self._narrowed)

    async def resolve(self, reference: str) -> Descriptor:
        """Return what is copied of that to which a tag or digest points."""
        found = await self._source.resolve(reference)
        if not self._platforms.wanted:
            return found
        manifest = await self._source.read_manifest(found)
        if not manifest.is_index:
            return found
        narrowed = narrow_index(manifest, self._platforms)
        if narrowed.digest != manifest.digest:
            self._narrowed[narrowed.digest] = narrowed
        return narrowed.descriptor

    async def read_manifest(self, descriptor: Descriptor) -> Manifest:
        """Return a manifest of the source, or an index as it is copied."""
        return self._narrowed.get(descriptor.digest) or await self._source.read_manifest(descriptor)

    def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob of the source, its bytes from `start` on."""
        return self._source.read_blob(descriptor, start)

    def tags(self) -> AsyncIterator[str]:
        """Yield every tag of the source."""
        return self._source.tags()

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Return what refers to a manifest at the source; nothing refers to an index that is made here."""
        return () if digest in self._narrowed else await self._source.referrers(digest)
