"""Whether a repository may use a blob that is held: the one rule that every way in and out asks.

Holding a blob is no right to it: all content is kept once, and a digest is no secret. A repository gets a blob

1. by receiving its bytes: a push, a sync, an import, a build, a fetch from its own source; they are verified;
2. by a mount, or an operation between repositories here, from where whoever asks for it may pull;
3. when a public path serves it already, so that anybody has it;
4. when its own source proves that it has it. A registry that has sent these bytes to us before is believed when it says so; any
   other has to send them, for it might have the digest only.

1 and 2 leave a lease (a row of `links`), and a version that holds the blob outlasts it. A version may also name blobs that came
without their bytes (`Snapshot.deferred`): such a one is the repository's only by a lease, which stays for as long.
"""

from collections.abc import Collection, Mapping

from catalog.blobs.content_store import ContentStore
from catalog.blobs.index import BlobIndex
from catalog.distributions.records import Distributions
from catalog.versions.needed_blobs import HeldBlob
from catalog.versions.snapshot import Snapshot
from catalog.versions.snapshot_cache import Snapshots
from oci.digest import Digest
from oci.errors import BlobUnknown


class Rights:
    """Answers for one installation; usable from any thread."""

    def __init__(
        self, content: ContentStore, blob_index: BlobIndex, snapshots: Snapshots, distributions: Distributions
    ) -> None:
        self._content, self._blob_index = content, blob_index
        self._snapshots, self._distributions = snapshots, distributions

    def has_received(self, version: Snapshot, digest: Digest) -> bool:
        """Return whether a version's repository has a blob as one that it has received, or has a lease on it; at most one
        look-up."""
        if digest in version.blobs and digest not in version.deferred:
            return True
        return self._content.linked(version.repository, digest)

    def usable_size(self, version: Snapshot, digest: Digest) -> int | None:
        """Bytes of a blob that is held and that a version's repository may use; None for any other, whoever has it."""
        return self._content.size(digest) if self.has_received(version, digest) else None

    def find_held(self, version: Snapshot, digests: Collection[Digest]) -> Mapping[Digest, HeldBlob]:
        """Return those of the blobs that are held, and whether a version's repository may use them; at most one look-up."""
        if not digests:
            return {}
        return {
            digest: HeldBlob(size, is_leased or (digest in version.blobs and digest not in version.deferred))
            for digest, (size, is_leased) in self._blob_index.held_for(version.repository, sorted(digests)).items()
        }

    def read(self, version: Snapshot, digest: Digest) -> bytes:
        """Return a small blob that a version's repository may use, whole; raise BlobUnknown for any other, whoever holds it."""
        if self.usable_size(version, digest) is None:
            raise BlobUnknown(f"blob {digest} of {version.repository} is not here")
        return self._content.read(digest)

    def size_told(self, version: Snapshot, digest: Digest) -> int | None:
        """Return what a version's repository is told of a blob's size: that of the bytes where it may use them, else what its own
        manifests claim, UNKNOWN_SIZE where they contradict each other; None for a blob that it does not have."""
        if digest in version.deferred and digest in version.blobs:
            size = self.usable_size(version, digest)
            return version.deferred[digest] if size is None else size
        size = version.blobs.get(digest)
        return self.usable_size(version, digest) if size is None else size

    def missing(self, version: Snapshot) -> set[Digest]:
        """The blobs of a version whose bytes its repository does not have, here or at all."""
        return {digest for digest in version.blobs if self.usable_size(version, digest) is None}

    def leased(self, repository: str) -> Mapping[Digest, int]:
        """Return the blobs that are held and leased to a repository, with their sizes; one query over all its leases."""
        return self._blob_index.linked(repository)

    def is_public(self, digest: Digest) -> bool:
        """Return whether a public path is known to serve a blob that is held. May read a version from the catalogue."""
        repository = self._blob_index.taken_by(digest)
        return repository is not None and self._serves_publicly(repository, digest)

    def _serves_publicly(self, repository: str, digest: Digest) -> bool:
        for one in self._distributions.serving(repository):
            version = None if one.private else self._snapshots.find_at(one.path)
            if version is not None and digest in version.blobs and self.has_received(version, digest):
                return True
        return False

    def take_public(self, repository: str, digest: Digest) -> bool:
        """Lease a blob to a repository if a public path serves it; False when none is known to."""
        return self.is_public(digest) and self._content.lease(repository, digest)

    def take_proven(self, repository: str, digest: Digest) -> bool:
        """Lease a blob to a repository whose source has proved that it has it; False when it is not held any longer."""
        if not self._content.lease(repository, digest):
            return False
        self.note_taken(repository, digest)
        return True

    def note_taken(self, repository: str, digest: Digest) -> None:
        """Remember a repository as one that has a blob, where none on a public path is known: others need no proof then.

        One that nothing serves yet may be on a public path soon; that is looked at whenever it counts.
        """
        serving = self._distributions.serving(repository)
        known = self._blob_index.taken_by(digest)
        if known == repository or (serving and all(one.private for one in serving)):
            return
        if known is None or all(one.private for one in self._distributions.serving(known)):
            self._blob_index.set_taken_by(digest, repository)


def proven_bytes(version: Snapshot, leased: Mapping[Digest, int]) -> int:
    """Return the bytes of those blobs of a version that came without them and were received since. Pure."""
    return sum(size for digest, size in leased.items() if digest in version.deferred and digest in version.blobs)
