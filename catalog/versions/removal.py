"""Taking content out of a version: what goes with it, and what stays because something else needs it. Pure rules."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from catalog.filters.companions import CompanionFilter
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest

Children = Mapping[Digest, Iterable[Digest]]
"""Parent to its children, manifests and blobs alike."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What is left of a version, and the manifests that were named but stay: something that stays is made of them."""

    left: Snapshot
    needed: Mapping[Digest, str]

    def gone(self, before: Snapshot) -> set[Digest]:
        """The manifests that went."""
        return before.manifests.keys() - self.left.manifests.keys()


def plan_removal(
    before: Snapshot, *, tags: Collection[str] = (), digests: Collection[Digest] = (), children: Children
) -> Removal:
    """Take tags with what they point to, and manifests by digest, out of a version.

    With a manifest go its children, what refers to it, and the tags by which cosign attaches things to it, each unless
    something that stays needs it: another tag, an index, or an untagged manifest that nobody asked to remove.
    """
    roots = {before.tags[tag] for tag in tags if tag in before.tags} | set(digests)
    companions = CompanionFilter().tags_of
    going = _reach(before, roots, children, lambda _digest: True)
    lost_tags = set(tags) | {tag for digest in going for tag in companions(digest)}
    staying = {digest for tag, digest in before.tags.items() if tag not in lost_tags}
    staying |= before.manifests.keys() - going

    def may_follow(digest: Digest) -> bool:  # what was named goes, though what it refers to stays
        return digest not in roots

    kept = _reach(before, staying, children, may_follow, without_tags=tags)
    gone = going - kept
    lost_tags = set(tags) | {tag for digest in gone for tag in companions(digest)}
    left_tags = {tag: digest for tag, digest in before.tags.items() if tag not in lost_tags and digest not in gone}
    needed = {digest: _needed_by(before, digest, left_tags, kept, children) for digest in roots & kept}
    manifests = {digest: entry for digest, entry in before.manifests.items() if digest not in gone}
    return Removal(Snapshot(before.repository, 0, left_tags, manifests), needed)


def _reach(
    before: Snapshot,
    roots: Iterable[Digest],
    children: Children,
    may_follow: Callable[[Digest], bool],
    *,
    without_tags: Collection[str] = (),
) -> set[Digest]:
    """The manifests that roots are made of, and what belongs to any of these as far as `may_follow` says."""
    companions = CompanionFilter().tags_of
    found: set[Digest] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in found or digest not in before.manifests:
            continue
        found.add(digest)
        waiting += children.get(digest, ())
        attached = [before.tags[tag] for tag in companions(digest) if tag in before.tags and tag not in without_tags]
        waiting += filter(may_follow, [*before.referrers.get(digest, ()), *attached])
    return found


def _needed_by(
    before: Snapshot, digest: Digest, tags: Mapping[str, Digest], kept: Collection[Digest], children: Children
) -> str:
    """Return who needs a manifest, in words."""
    named = sorted(tag for tag, target in tags.items() if target == digest)
    if named:
        return f"it is tagged {', '.join(named[:3])}"
    parents = (parent for parent in kept if parent in before.manifests and digest in set(children.get(parent, ())))
    parent = next(parents, None)
    return f"it is part of {parent}" if parent else "something that stays needs it"
