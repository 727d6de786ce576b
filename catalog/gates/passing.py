"""What passes the gates of a version: a version in memory without what is refused, with what stands in for it.

1. Each tag keeps its digest, or gets the newest that passes (`selection`). 2. What the latest version no longer holds, as in a
mirror whose tag has moved on, is taken from an earlier version, with its signatures and other companions. 3. What is refused
leaves the version, and blobs that nothing else needs with it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeVar

from catalog.filters.companions import CompanionFilter
from catalog.gates.repository_facts import RepositoryFacts
from catalog.gates.selection import select_passing_tags
from catalog.gates.verdicts import Refusal
from catalog.versions.manifests import Manifests
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci.digest import Digest
from oci.errors import ManifestInvalid, ManifestUnknown, StorageCorrupt, VersionUnknown

_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class Passing:
    """What is served: `snapshot` holds what passes alone.

    `refused_tags` have no digest that passes; `stepped_back` have an earlier one. Both say why the one they point to is refused.
    """

    snapshot: Snapshot
    refused_tags: Mapping[str, tuple[Digest, Refusal]] = field(default_factory=dict)
    stepped_back: Mapping[str, tuple[Digest, Refusal]] = field(default_factory=dict)


class PassingContent:
    """Makes such versions; it reads earlier versions and manifests, so use a thread."""

    def __init__(self, read_version: Callable[[str, int], Snapshot], manifests: Manifests) -> None:
        self._read_version, self._manifests = read_version, manifests

    def make(
        self,
        snapshot: Snapshot,
        facts: RepositoryFacts,
        refused: Mapping[Digest, Refusal],
        refused_blobs: Mapping[Digest, Digest],
    ) -> Passing:
        """Return what passes of a version; `refused_blobs` are those that only refused manifests name."""
        if refused.keys().isdisjoint(snapshot.manifests):
            return Passing(snapshot)
        selection = select_passing_tags(snapshot, facts, refused)
        taken = _Taken(snapshot, refused)
        tags = dict(selection.kept)
        for tag, places in selection.earlier.items():
            for digest, number in places:
                if self._take(taken, digest, number):
                    tags[tag] = digest
                    break
        for tag, digest in taken.tags.items():
            tags.setdefault(tag, digest)
        made = replace(
            snapshot,
            tags=tags,
            manifests={**taken.manifests, **_without(snapshot.manifests, refused)},
            blobs={**taken.blobs, **_without(snapshot.blobs, refused_blobs)},
            deferred={**snapshot.deferred, **taken.deferred},
        )
        refusals = selection.refused.items()
        return Passing(
            made,
            {tag: refusal for tag, refusal in refusals if tag not in tags},
            {tag: refusal for tag, refusal in refusals if tag in tags},
        )

    def _take(self, taken: "_Taken", digest: Digest, number: int) -> bool:
        """Take a manifest in from an earlier version; return whether it can be served."""
        if digest in taken.base.manifests or digest in taken.manifests:
            return True
        with suppress(VersionUnknown, ManifestUnknown, ManifestInvalid, StorageCorrupt):
            earlier = self._read_version(taken.base.repository, number)
            entries = self._closure(earlier, digest, taken.refused)
            blobs = {
                child.digest
                for one, entry in entries.items()
                for role, child in self._manifests.read(one, entry.media_type).children()
                if role != "manifest" and child.digest in earlier.blobs
            }
            taken.add(earlier, entries, blobs)
            return True
        return False

    def _closure(
        self, earlier: Snapshot, root: Digest, refused: Mapping[Digest, Refusal]
    ) -> dict[Digest, ManifestEntry]:
        """Return a manifest of a version with its parts and companions; raise ManifestUnknown."""
        found: dict[Digest, ManifestEntry] = {}
        waiting = [earlier.resolve(root)]
        while waiting:
            digest = waiting.pop()
            entry = earlier.manifests.get(digest)
            if entry is None or digest in found or digest in refused:
                continue
            found[digest] = entry
            parts = self._manifests.read(digest, entry.media_type).manifests
            waiting += [part.digest for part in parts]
            waiting += earlier.referrers.get(digest, ())
            waiting += [earlier.tags[tag] for tag in CompanionFilter().tags_of(digest) if tag in earlier.tags]
        return found


class _Taken:
    """What is taken from earlier versions."""

    def __init__(self, base: Snapshot, refused: Mapping[Digest, Refusal]) -> None:
        self.base, self.refused = base, refused
        self.tags: dict[str, Digest] = {}
        self.manifests: dict[Digest, ManifestEntry] = {}
        self.blobs: dict[Digest, int] = {}
        self.deferred: dict[Digest, int] = {}

    def add(self, earlier: Snapshot, entries: Mapping[Digest, ManifestEntry], blobs: set[Digest]) -> None:
        """Take manifests and blobs of an earlier version, and the tags of their companions."""
        self.manifests.update(entries)
        self.blobs.update((blob, earlier.blobs[blob]) for blob in blobs)
        claims = earlier.deferred
        self.deferred.update((blob, claims[blob]) for blob in blobs if blob in claims and blob not in self.base.blobs)
        for tag in (tag for digest in entries for tag in CompanionFilter().tags_of(digest)):
            if tag in earlier.tags and earlier.tags[tag] in entries:
                self.tags[tag] = earlier.tags[tag]


def _without(held: Mapping[Digest, _V], gone: Mapping[Digest, object]) -> dict[Digest, _V]:
    return {digest: value for digest, value in held.items() if digest not in gone}
