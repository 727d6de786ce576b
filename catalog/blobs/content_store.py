"""The content we hold, one copy of each blob however many repositories use it."""

from collections.abc import Iterable

from catalog.blobs.index import BlobIndex, Link
from catalog.blobs.local_store import BlobReader, BlobStore
from catalog.blobs.uploads import Clock, Uploads
from oci.digest import Digest
from oci.errors import BlobUnknown

LEASE_AGE = 600.0
"""Seconds after which a lease that is still needed is written anew; garbage collection's grace period must be longer."""


class ContentStore:
    """Looks up, reads and leases blobs; usable from any thread."""

    def __init__(self, store: BlobStore, blob_index: BlobIndex, uploads: Uploads, *, clock: Clock) -> None:
        self._store, self._blob_index, self._uploads, self._clock = store, blob_index, uploads, clock

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob that is held by anybody, else None."""
        return self._blob_index.size(digest)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of the blobs that are not held."""
        wanted = set(digests)
        return wanted - self._blob_index.sizes(wanted).keys()

    def open(self, digest: Digest) -> BlobReader:
        """Open a blob; raise BlobUnknown when it is not held, StorageCorrupt when its bytes are gone."""
        size = self._blob_index.size(digest)
        if size is None:
            raise BlobUnknown(f"blob {digest} is not held here")
        return self._store.open(digest, size)

    def reopen(self, digest: Digest, size: int) -> BlobReader:
        """Open a blob of that size that was opened before; raise StorageCorrupt when its bytes have gone since.

        Saves asking whether it is held: bytes of the right size are there only as long as it is.
        """
        return self._store.open(digest, size)

    @property
    def is_remote(self) -> bool:
        """Return whether each look at a blob's bytes is a request over the network."""
        return self._store.is_remote

    @property
    def redirects(self) -> bool:
        """Return whether clients may get blobs from the store itself."""
        return self._store.redirects

    def url(self, digest: Digest) -> str:
        """Return where clients get a held blob without us, for a while; only where the store redirects."""
        return self._store.url(digest)

    def totals(self) -> tuple[int, int]:
        """Return how many blobs are held, and their bytes; it counts them all."""
        return self._blob_index.totals()

    def read(self, digest: Digest, *, size: int | None = None) -> bytes:
        """Return a small blob whole; `size` is that of one which was found held just now, as `reopen` takes it."""
        with self.open(digest) if size is None else self.reopen(digest, size) as reader:
            return reader.read_at(0, reader.size)

    def put(self, data: bytes, digest: Digest, repository: str, media_type: str = "") -> None:
        """Keep small content of that digest and lease it to the repository; what it has a lease on is not written again.

        What others hold is written like anything else, so that the time it takes tells nothing of them.
        """
        if self.linked(repository, digest) and self._blob_index.add_link(
            repository, digest, media_type=media_type, now=self._clock()
        ):
            return
        session = self._uploads.begin(repository)
        try:
            session.write(data)
            session.finish(digest, media_type=media_type)
        finally:
            session.cancel()

    def link(self, repository: str, digest: Digest, media_type: str = "") -> None:
        """Let a repository use a blob until a version holds it; raise BlobUnknown when it is not held."""
        if not self._blob_index.add_link(repository, digest, media_type=media_type, now=self._clock()):
            raise BlobUnknown(f"blob {digest} is not held here")

    def unlink(self, repository: str, digest: Digest) -> bool:
        """End a repository's lease on a blob; False when it has none. The bytes go when nothing else needs them."""
        return self._blob_index.drop_link(repository, digest)

    def linked(self, repository: str, digest: Digest) -> bool:
        """Return whether the repository has a lease on a blob that is held."""
        return self._blob_index.link(repository, digest) is not None

    def lease(self, repository: str, digest: Digest, media_type: str = "") -> bool:
        """Make sure that the repository has a lease of recent date; False when the blob is not held.

        With a media type, only a manifest that the repository has staged itself counts as held.
        """
        link = self._blob_index.link(repository, digest)
        if media_type and (link is None or not link.media_type):
            return False
        return self._lease_anew(link, repository, digest, media_type)

    def renew(self, repository: str, digests: Iterable[Digest]) -> set[Digest]:
        """Make sure that the repository's leases on blobs are of recent date; return those that it has."""
        found = self._blob_index.leases(repository, digests)
        return {digest for digest, link in found.items() if self._lease_anew(link, repository, digest, "")}

    def _lease_anew(self, link: Link | None, repository: str, digest: Digest, media_type: str) -> bool:
        now = self._clock()
        if link is not None and now - link.linked_at < LEASE_AGE:
            return True
        return self._blob_index.add_link(repository, digest, media_type=media_type, now=now)

    def linked_anywhere(self, digest: Digest) -> set[str]:
        """The repositories that have a lease on the blob."""
        return self._blob_index.repositories_of(digest)

    def origins(self, digest: Digest) -> frozenset[str]:
        """The registries that have sent a blob whole."""
        return self._blob_index.origins(digest)

    def check(self) -> None:
        """Raise what keeps the store from being written."""
        self._store.check()
