"""Evidence out of a version of a repository: what its own tags and referrers name, and what the repository may use."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import cached_property

from catalog.commits.blob_rights import Rights
from catalog.policy.evidence import MAX_ITEMS, from_both_ends
from catalog.versions.manifests import Manifests
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import ManifestUnknown, StorageCorrupt
from oci.manifest import Manifest

Children = Callable[[str], Mapping[Digest, tuple[Digest, ...]]]
_NEVER = datetime.max.replace(tzinfo=UTC)
FirstSeen = Callable[[str, Collection[Digest]], Mapping[Digest, datetime]]


class VersionSource:
    """Reads one version; `children` gives what each manifest of a repository lists, and is asked for indexes only.

    `first_seen` gives when manifests came, and is asked where there are more of one kind than are looked at.
    """

    def __init__(
        self, snapshot: Snapshot, manifests: Manifests, rights: Rights, children: Children, first_seen: FirstSeen
    ) -> None:
        self.repository, self.snapshot = snapshot.repository, snapshot
        self._manifests, self._rights, self._read_children = manifests, rights, children
        self._first_seen = first_seen

    def tag(self, name: str) -> Digest | None:
        """Return what a tag of the version points to."""
        return self.snapshot.tags.get(name)

    def referrers(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the manifests of the version that name this one as subject; of very many the newest and the oldest first."""
        return self._in_turn(self.snapshot.referrers.get(digest, ()))

    def manifest(self, digest: Digest) -> Manifest:
        """Return a manifest of the version; raise ManifestUnknown, StorageCorrupt, ManifestInvalid."""
        entry = self.snapshot.manifests.get(digest)
        if entry is None:
            raise ManifestUnknown(f"manifest {digest} is not in version {self.snapshot.version} of {self.repository}")
        return self._manifests.read(digest, entry.media_type)

    def blob(self, digest: Digest) -> bytes:
        """Return a blob that the repository may use; raise BlobUnknown, StorageCorrupt."""
        found = self._rights.read(self.snapshot, digest)
        if Digest.of(found, digest.algorithm) != digest:
            raise StorageCorrupt(f"blob {digest} is damaged in the store; `entrepot scrub` deals with it")
        return found

    def parents(self, digest: Digest) -> tuple[Digest, ...]:
        """Return the indexes of the version that list a manifest; of very many the newest and the oldest first."""
        return self._in_turn(self._parents.get(digest, ()))

    def _in_turn(self, digests: tuple[Digest, ...]) -> tuple[Digest, ...]:
        if len(digests) <= MAX_ITEMS:
            return digests
        seen = self._first_seen(self.repository, digests)
        return tuple(from_both_ends(sorted(digests, key=lambda one: (seen.get(one, _NEVER), one))))

    @cached_property
    def _parents(self) -> Mapping[Digest, tuple[Digest, ...]]:
        held = self.snapshot.manifests
        if not any(entry.media_type in mediatypes.INDEXES for entry in held.values()):
            return {}
        found: dict[Digest, set[Digest]] = {}
        for parent, children in self._read_children(self.repository).items():
            if parent in held and held[parent].media_type in mediatypes.INDEXES:
                for child in children:
                    found.setdefault(child, set()).add(parent)
        return {child: tuple(sorted(parents)) for child, parents in found.items()}
