"""What differs between any two versions, of one repository or of two."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.catalog import Catalog
from catalog.content.documents import find_packages
from catalog.documents.packages import PackageDiff, Packages, diff_packages
from catalog.filters.companions import COMPANION_TAGS
from catalog.versions.snapshot import Delta, Snapshot, delta_between
from oci.digest import Digest
from oci.reference import VersionReference

MAX_COMPARED = 1000
"""Moved tags whose packages are compared; reading documents takes a while."""

_COMPANION = re.compile(COMPANION_TAGS.removeprefix("re:"))


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What leads from one version to another. `packages` has, for moved tags that have a bill of materials on both sides, what
    differs in them; `without_packages` are the moved tags that have none on one side, or were too many to look at."""

    old: VersionReference
    new: VersionReference
    delta: Delta
    packages: Mapping[str, PackageDiff] = field(default_factory=dict)
    without_packages: tuple[str, ...] = ()

    @property
    def moved(self) -> list[str]:
        """The tags that are in both and point elsewhere, in order."""
        return sorted(self.delta.tags_added.keys() & self.delta.tags_removed.keys())

    def to_json(self) -> dict[str, object]:
        """The same for programs; sizes in bytes."""
        delta, moved = self.delta, set(self.moved)
        return {
            "repository": self.old.repository,
            "old": self.old.version,
            "new_repository": self.new.repository,
            "new": self.new.version,
            "tags_added": {tag: digest for tag, digest in delta.tags_added.items() if tag not in moved},
            "tags_removed": {tag: digest for tag, digest in delta.tags_removed.items() if tag not in moved},
            "tags_moved": {
                tag: {"from": delta.tags_removed[tag], "to": delta.tags_added[tag]} for tag in sorted(moved)
            },
            "manifests_added": sorted(delta.manifests_added),
            "manifests_removed": sorted(delta.manifests_removed),
            "blobs_added": sorted(delta.blobs_added),
            "blobs_removed": sorted(delta.blobs_removed),
            "bytes_added": delta.bytes_added,
            "bytes_removed": delta.bytes_removed,
            "packages": {tag: _packages_json(found) for tag, found in self.packages.items()},
            "without_packages": list(self.without_packages),
        }


def _packages_json(found: PackageDiff) -> dict[str, object]:
    return {
        "added": {name: sorted(versions) for name, versions in found.added.items()},
        "removed": {name: sorted(versions) for name, versions in found.removed.items()},
        "changed": {name: {"from": sorted(old), "to": sorted(new)} for name, (old, new) in found.changed.items()},
    }


def diff_versions(
    catalog: Catalog, old: VersionReference, new: VersionReference, *, packages: bool = True
) -> VersionDiff:
    """Compare two versions; raise NameUnknown or VersionUnknown."""
    before, after = (
        catalog.snapshots.get(old.repository, old.version),
        catalog.snapshots.get(new.repository, new.version),
    )
    found = VersionDiff(
        VersionReference(before.repository, before.version),
        VersionReference(after.repository, after.version),
        delta_between(before, after),
    )
    return _with_packages(catalog, found, before, after) if packages else found


def _with_packages(catalog: Catalog, found: VersionDiff, before: Snapshot, after: Snapshot) -> VersionDiff:
    known: dict[tuple[str, Digest], Packages | None] = {}

    def packages(side: str, snapshot: Snapshot, digest: Digest) -> Packages | None:
        if (side, digest) not in known:
            known[side, digest] = find_packages(catalog, snapshot, digest)
        return known[side, digest]

    compared: dict[str, PackageDiff] = {}
    moved = [tag for tag in found.moved if not _COMPANION.fullmatch(tag)]
    for tag in moved[:MAX_COMPARED]:
        old = packages("old", before, before.tags[tag])
        new = packages("new", after, after.tags[tag])
        if old is not None and new is not None:
            compared[tag] = diff_packages(old, new)
    without = tuple(tag for tag in moved if tag not in compared)
    return VersionDiff(found.old, found.new, found.delta, compared, without)
