"""A version here as the source of a push: what was left upstream is fetched on the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositorySource
from catalog.remotes.clients import Upstreams
from catalog.versions.snapshot import Snapshot
from flows.runs.absent_blobs import Absent, fetch_blob
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import BlobUnknown, RemoteError
from oci.manifest import Manifest


class PushSource(RepositorySource):
    """Reads one version of a repository, each blob from any byte on and as often as is asked."""

    def __init__(self, catalog: Catalog, snapshot: Snapshot, upstreams: Upstreams) -> None:
        super().__init__(catalog, snapshot)
        self._here, self.version, self._upstreams = catalog, snapshot, upstreams
        self.lacking: set[Digest] = set()
        """The manifests seen so far whose parts are not all in the version."""

    def parts(self, manifest: Manifest) -> list[tuple[str, Descriptor]]:
        """Return the parts of a manifest, as far as the version has them."""
        version = self.version
        parts = [
            part
            for part in manifest.children()
            if part[1].digest in version.manifests or part[1].digest in version.blobs
        ]
        if len(parts) < len(list(manifest.children())):
            self.lacking.add(manifest.digest)
        return list(parts)

    async def read_blob(self, descriptor: Descriptor, start: int = 0) -> AsyncIterator[bytes]:
        """Yield a blob from `start` on.

        A blob that came on demand and is not here is fetched first, and stored; one that is streamed passes through.
        """
        digest = descriptor.digest
        chunks = super().read_blob(descriptor, start)
        if digest in self.version.blobs and self._here.rights.usable_size(self.version, digest) is None:
            absent = await asyncio.to_thread(self._absent, descriptor)
            stored = tuple(source for source in absent.sources if source.policy != "streamed")
            if stored:
                await fetch_blob(self._here, self._upstreams, absent._replace(sources=stored))
            else:
                chunks = self._pass(absent, descriptor, start)
        async with aclosing(chunks):  # type: ignore[type-var]  # an async generator can be closed
            async for chunk in chunks:
                yield chunk

    def _absent(self, descriptor: Descriptor) -> Absent:
        blobs, digest = self.version.blobs, descriptor.digest
        missing = self._here.rights.missing(self.version)
        size = self.version.deferred.get(digest, blobs[digest])
        return Absent(self.version, digest, size, self._here.sources.find(self.version, digest, missing))

    async def _pass(self, absent: Absent, descriptor: Descriptor, start: int) -> AsyncIterator[bytes]:
        """Yield a blob from one source after the other; where one breaks off, the next one goes on."""
        place = start
        failure: RemoteError | None = None
        for source in absent.sources:
            upstream = await self._upstreams.repository(source.remote)
            try:
                async with aclosing(upstream.read_blob(descriptor, place)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        place += len(chunk)
                        yield chunk
            except RemoteError as error:
                failure = error
            else:
                return
        raise failure or BlobUnknown(f"blob {descriptor.digest} is not here, and its origin is not known")
