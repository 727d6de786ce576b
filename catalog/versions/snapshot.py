"""One version of one repository in memory: built by one query, moved forward by changes, never changed in place."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from catalog.quotas.totals import Total
from oci.descriptor import UNKNOWN_SIZE
from oci.digest import Digest
from oci.errors import ManifestUnknown, VersionUnknown
from oci.reference import is_tag


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """What serving and planning need of a manifest without reading it; `size` in bytes."""

    media_type: str
    size: int
    artifact_type: str = ""
    subject: Digest | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """What one version adds to and removes from the one before; a moved tag stands in both."""

    tags_added: Mapping[str, Digest] = field(default_factory=dict)
    tags_removed: Mapping[str, Digest] = field(default_factory=dict)
    manifests_added: Mapping[Digest, ManifestEntry] = field(default_factory=dict)
    manifests_removed: Mapping[Digest, ManifestEntry] = field(default_factory=dict)
    blobs_added: Mapping[Digest, int] = field(default_factory=dict)
    blobs_removed: Mapping[Digest, int] = field(default_factory=dict)
    deferred: Mapping[Digest, int] = field(default_factory=dict)
    """Blobs that come without their bytes, and the sizes that manifests claim for them."""

    @property
    def added(self) -> int:
        """Return how many changes add."""
        return len(self.tags_added) + len(self.manifests_added) + len(self.blobs_added)

    @property
    def removed(self) -> int:
        """Return how many changes remove."""
        return len(self.tags_removed) + len(self.manifests_removed) + len(self.blobs_removed)

    @property
    def bytes_added(self) -> int:
        """Bytes of manifests and blobs that come."""
        return sum(self.blobs_added.values()) + sum(entry.size for entry in self.manifests_added.values())

    @property
    def bytes_removed(self) -> int:
        """Bytes of manifests and blobs that go."""
        return sum(self.blobs_removed.values()) + sum(entry.size for entry in self.manifests_removed.values())

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


@dataclass(frozen=True)
class Snapshot:
    """The tags, manifests and blobs of one version; treat the mappings as read-only. Version 0 is empty."""

    repository: str
    version: int
    tags: Mapping[str, Digest] = field(default_factory=dict, repr=False)
    manifests: Mapping[Digest, ManifestEntry] = field(default_factory=dict, repr=False)
    blobs: Mapping[Digest, int] = field(default_factory=dict, repr=False)
    deferred: Mapping[Digest, int] = field(default_factory=dict, repr=False)
    """Blobs that manifests name and that came without their bytes: the repository may use them once its own source has proved
    that it has them. With the size that manifests claim, UNKNOWN_SIZE where they contradict each other."""
    proven_bytes: int = field(default=0, repr=False, compare=False)
    """Bytes of those of them that had been received when the version was made, as far as memory knows."""

    def resolve(self, reference: str) -> Digest:
        """Return the digest of the manifest a tag or digest text names; raise ManifestUnknown."""
        digest = self.tags.get(reference)
        if digest is not None:
            return digest
        if reference in self.manifests:
            return Digest(reference)
        what = "tag" if is_tag(reference) else "manifest"
        raise ManifestUnknown(f"{what} {reference[:200]!r} is not in {self.repository}")

    @cached_property
    def sorted_tags(self) -> tuple[str, ...]:
        """All tags in ASCII order."""
        return tuple(sorted(self.tags))

    def tags_after(self, last: str, limit: int | None) -> tuple[str, ...]:
        """Up to `limit` tags that come after `last` in ASCII order, whether or not `last` exists."""
        start = bisect_right(self.sorted_tags, last) if last else 0
        return self.sorted_tags[start:] if limit is None else self.sorted_tags[start : start + limit]

    @cached_property
    def referrers(self) -> Mapping[Digest, tuple[Digest, ...]]:
        """Subject to the manifests that name it, in order of digest."""
        found: dict[Digest, list[Digest]] = {}
        for digest, entry in self.manifests.items():
            if entry.subject:
                found.setdefault(entry.subject, []).append(digest)
        return {subject: tuple(sorted(digests)) for subject, digests in found.items()}

    @cached_property
    def size_bytes(self) -> int:
        """Bytes of all manifests and of the blobs that were received, each counted once; what manifests only claim is none."""
        blobs = sum(size for digest, size in self.blobs.items() if digest not in self.deferred)
        return blobs + sum(entry.size for entry in self.manifests.values())

    def with_proven(self, size: int) -> "Snapshot":
        """The same version, knowing how many bytes of its deferred blobs were received since."""
        made = replace(self, proven_bytes=size)
        made.__dict__["size_bytes"] = self.size_bytes
        return made

    def forward(self, version: int, delta: Delta) -> "Snapshot":
        """Return the snapshot that `delta` makes of this one; what did not change is shared."""
        moved = Snapshot(
            self.repository,
            version,
            _moved(self.tags, delta.tags_added, delta.tags_removed),
            _moved(self.manifests, delta.manifests_added, delta.manifests_removed),
            _moved(self.blobs, delta.blobs_added, delta.blobs_removed),
            merged_claims(self.deferred, delta.deferred),
        )
        claimed = sum(size for digest, size in delta.blobs_added.items() if digest in moved.deferred)
        claimed -= sum(size for digest, size in delta.blobs_removed.items() if digest in self.deferred)
        size = self.size_bytes + delta.bytes_added - delta.bytes_removed - claimed
        moved.__dict__["size_bytes"] = size  # known without a sum
        return moved


def merged_claims(old: Mapping[Digest, int], new: Mapping[Digest, int]) -> Mapping[Digest, int]:
    """Put the sizes together that manifests claim for blobs; where they contradict each other, none is known."""
    if not new:
        return old
    changed = {digest: size if old.get(digest, size) == size else UNKNOWN_SIZE for digest, size in new.items()}
    return {**old, **changed}


_K = TypeVar("_K")
_V = TypeVar("_V")


def _moved(old: Mapping[_K, _V], added: Mapping[_K, _V], removed: Iterable[_K]) -> Mapping[_K, _V]:
    gone = set(removed)
    if not added and not gone:
        return old
    new = dict(old)
    for key in gone:
        new.pop(key, None)
    new.update(added)
    return new


def delta_between(old: Snapshot, new: Snapshot) -> Delta:
    """Return what leads from one snapshot to another, of the same repository or not."""
    return Delta(
        tags_added={tag: digest for tag, digest in new.tags.items() if old.tags.get(tag) != digest},
        tags_removed={tag: digest for tag, digest in old.tags.items() if new.tags.get(tag) != digest},
        manifests_added={digest: entry for digest, entry in new.manifests.items() if digest not in old.manifests},
        manifests_removed={digest: entry for digest, entry in old.manifests.items() if digest not in new.manifests},
        blobs_added={digest: size for digest, size in new.blobs.items() if digest not in old.blobs},
        blobs_removed={digest: size for digest, size in old.blobs.items() if digest not in new.blobs},
    )


def total_of(snapshot: Snapshot) -> Total:
    """Return what a version counts for: what was received; a size that a manifest claims for a blob left upstream counts
    for nothing."""
    return Total(len(snapshot.tags), snapshot.size_bytes + snapshot.proven_bytes)


def version_unknown(name: str, number: int, latest: int) -> VersionUnknown:
    """Return the error that says why the version does not exist."""
    was = ", it was deleted" if 0 < number < latest else ""
    return VersionUnknown(f"{name} has no version {number}{was}; its latest is {latest}")
