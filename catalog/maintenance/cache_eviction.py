"""What a cache lets go, as pure rules over values: what nobody has used for long, and the layers that nobody needs soonest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from catalog.blobs.index import BlobRecord
from catalog.filters.companions import CompanionFilter
from catalog.units import format_time
from catalog.versions.changes import Change, RemoveManifest, RemoveTag
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest

Children = Mapping[Digest, Sequence[Digest]]


@dataclass(frozen=True, slots=True)
class Uses:
    """When tags and manifests of a repository were used last, pulled or brought; what came after `known_at` is in neither."""

    known_at: datetime
    tags: Mapping[str, datetime] = field(default_factory=dict)
    manifests: Mapping[Digest, datetime] = field(default_factory=dict)

    def may_have_unused(self, before: datetime) -> bool:
        """Return whether anything was used last before a time, its companions and parts not looked at."""
        return any(last < before for times in (self.tags, self.manifests) for last in times.values())

    def of_tag(self, tag: str) -> datetime:
        """Return when a tag was used last by its name."""
        return self.tags.get(tag, self.known_at)

    def of_manifest(self, digest: Digest) -> datetime:
        """Return when a manifest was used last by whatever name."""
        return self.manifests.get(digest, self.known_at)


@dataclass(frozen=True, slots=True)
class Unused:
    """Tags and manifests to be taken away, each with the reason."""

    tags: Mapping[str, str]
    manifests: Mapping[Digest, str]

    @property
    def changes(self) -> tuple[Change, ...]:
        """The changes that take them away; a manifest takes its tags along."""
        return (*map(RemoveTag, self.tags), *map(RemoveManifest, self.manifests))


def plan_unused(snapshot: Snapshot, children: Children, uses: Uses, *, before: datetime) -> Unused:
    """Return what was not used since `before`: a tag as long as its manifest was used, a manifest as long as a part or a
    tag of it was.
    Companions (referrers, cosign's tags) live and die with their subject, whenever they were used themselves.
    """
    used = _used_with_parts(snapshot, children, uses)
    last = {tag: max(uses.of_tag(tag), used[digest]) for tag, digest in snapshot.tags.items()}
    every = CompanionFilter()
    follows = {tag: digest for digest in snapshot.manifests for tag in every.tags_of(digest) if tag in snapshot.tags}
    by_name = {tag for tag in snapshot.tags if tag not in follows and last[tag] >= before}
    followers = {snapshot.tags[tag] for tag in follows} - {
        snapshot.tags[tag] for tag in snapshot.tags if tag not in follows
    }
    roots = {snapshot.tags[tag] for tag in by_name} | {
        digest
        for digest, entry in snapshot.manifests.items()
        if used[digest] >= before and entry.subject not in snapshot.manifests and digest not in followers
    }
    kept, with_them = _with_companions(snapshot, children, roots, follows)
    return Unused(
        {tag: _reason(last[tag]) for tag in snapshot.tags if tag not in by_name and tag not in with_them},
        {digest: _reason(used[digest]) for digest in snapshot.manifests if digest not in kept},
    )


def _used_with_parts(snapshot: Snapshot, children: Children, uses: Uses) -> dict[Digest, datetime]:
    """Return when each manifest was used last, or a manifest that it names: clients that have an index pull its children
    alone."""
    parents: dict[Digest, list[Digest]] = {}
    for parent, parts in children.items():
        for part in parts:
            parents.setdefault(part, []).append(parent)
    found = {digest: uses.of_manifest(digest) for digest in snapshot.manifests}
    waiting = list(found)
    while waiting:
        digest = waiting.pop()
        for parent in parents.get(digest, ()):
            if parent in found and found[parent] < found[digest]:
                found[parent] = found[digest]
                waiting.append(parent)
    return found


def _with_companions(
    snapshot: Snapshot, children: Children, roots: Collection[Digest], follows: Mapping[str, Digest]
) -> tuple[set[Digest], set[str]]:
    """The roots with their parts, what refers to any of them, and the tags by which cosign attaches something to them."""
    tags_of: dict[Digest, list[str]] = {}
    for tag, subject in follows.items():
        tags_of.setdefault(subject, []).append(tag)
    kept: set[Digest] = set()
    tags: set[str] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in kept or digest not in snapshot.manifests:
            continue
        kept.add(digest)
        tags.update(tags_of.get(digest, ()))
        waiting += children.get(digest, ())
        waiting += snapshot.referrers.get(digest, ())
        waiting += (snapshot.tags[tag] for tag in tags_of.get(digest, ()))
    return kept, tags


def _reason(last: datetime) -> str:
    return f"not used since {format_time(last.replace(microsecond=0))}"


@dataclass(frozen=True, slots=True)
class UsedBlob:
    """A blob that may lose its bytes, and when it was used last: fetched, or a manifest that has it was pulled."""

    blob: BlobRecord
    last_used: datetime


def plan_size(blobs: Sequence[UsedBlob], *, held: int, most: int) -> list[UsedBlob]:
    """Of these blobs those that are to go so that of `held` bytes no more than `most` are left: used longest ago first, and of
    those used at the same time the largest. All of them where they do not suffice."""
    planned: list[UsedBlob] = []
    left = held
    for one in sorted(blobs, key=lambda one: (one.last_used, -one.blob.size, one.blob.digest)):
        if left <= most:
            break
        planned.append(one)
        left -= one.blob.size
    return planned
