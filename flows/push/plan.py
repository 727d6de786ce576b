"""The plan of a push: pure rules over a version here and the tags that the other registry has."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from catalog.filters.companions import CompanionFilter
from catalog.filters.tags import Selection, TagFilter
from catalog.versions.snapshot import Snapshot
from flows.runs.plan_items import PlanItem
from oci.digest import Digest
from oci.reference import is_tag
from oci.remote.referrers_tag import fallback_tag

Children = Mapping[Digest, tuple[Digest, ...]]
_LIST_OF_REFERRERS = re.compile(r"sha(?:256|512)-[0-9a-f]{64,}")
_COMPANION = re.compile(rf"({_LIST_OF_REFERRERS.pattern})(?:\.(?:sig|att|sbom))?")


@dataclass(frozen=True, slots=True)
class Roots:
    """Tags (or digests, of manifests without a tag) with what they point to; `dropped` with the reason for each."""

    roots: Mapping[str, Digest]
    dropped: Mapping[str, str] = field(default_factory=dict)


def select_tags(
    snapshot: Snapshot, children: Children, selection: Selection, tags: TagFilter, companions: CompanionFilter
) -> Roots:
    """Return the tags and digests that filters select, and cosign's tags for their manifests, unless `tags` excludes them."""
    roots = {one: snapshot.tags[one] if is_tag(one) else Digest(one) for one in selection.kept}
    dropped = dict(selection.dropped)
    dropped |= {str(digest): "not here" for digest in tags.digests if digest not in snapshot.manifests}
    return _with_companions(snapshot, children, roots, dropped, companions, TagFilter(exclude=tags.exclude))


def select_one(snapshot: Snapshot, children: Children, name: str, digest: Digest, companions: CompanionFilter) -> Roots:
    """Return one manifest under a tag or a digest, and cosign's tags for what it is made of."""
    return _with_companions(snapshot, children, {name: digest}, {}, companions, TagFilter())


def _with_companions(
    snapshot: Snapshot,
    children: Children,
    roots: dict[str, Digest],
    dropped: dict[str, str],
    companions: CompanionFilter,
    allowed: TagFilter,
) -> Roots:
    """Add tags of companions. A list of referrers under a tag is not pushed: the other registry keeps its own."""
    waiting = list(roots.values())
    seen: set[Digest] = set()
    while waiting and companions.patterns:
        for digest in made_of(snapshot, children, waiting.pop(), seen):
            found = [tag for tag in companions.tags_of(digest) if tag in snapshot.tags and tag not in roots]
            for tag in allowed.select(found).kept:
                roots[tag] = snapshot.tags[tag]
                dropped.pop(tag, None)
                waiting.append(snapshot.tags[tag])
    for tag in [tag for tag in roots if is_fallback(tag)]:
        del roots[tag]
        dropped[tag] = "a list of referrers: these are pushed, and listed by the target"
    # What belongs to an image is there before the image's tag is.
    return Roots(dict(sorted(roots.items(), key=lambda item: not _COMPANION.fullmatch(item[0]))), dropped)


def made_of(snapshot: Snapshot, children: Children, root: Digest, seen: set[Digest]) -> Iterator[Digest]:
    """Yield a manifest and the manifests within, as far as they are here; skip those in `seen`, and add the others to it."""
    waiting = [root]
    while waiting:
        digest = waiting.pop()
        if digest in seen or digest not in snapshot.manifests:
            continue
        seen.add(digest)
        yield digest
        waiting += children.get(digest, ())


def blobs_of(snapshot: Snapshot, children: Children, roots: Iterable[Digest]) -> set[Digest]:
    """Return the blobs of manifests, at any depth."""
    seen: set[Digest] = set()
    manifests = (digest for root in roots for digest in made_of(snapshot, children, root, seen))
    return {child for digest in manifests for child in children.get(digest, ()) if child in snapshot.blobs}


def is_fallback(tag: str) -> bool:
    """Return whether a tag is that of a list of referrers, by its name."""
    return _LIST_OF_REFERRERS.fullmatch(tag) is not None


def plan_push(
    roots: Mapping[str, Digest], there: Mapping[str, Digest | None], failed: Mapping[str, str]
) -> list[PlanItem]:
    """Compare roots with where the other registry's tags point; `failed` has the reason for each tag that is unknown."""
    return [_plan_tag(tag, digest, there.get(tag), failed.get(tag)) for tag, digest in roots.items()]


def _plan_tag(tag: str, digest: Digest, previous: Digest | None, failure: str | None) -> PlanItem:
    if failure is not None:
        return PlanItem(tag, "failed", digest, previous, reason=failure)
    if previous == digest:
        return PlanItem(tag, "unchanged", digest, previous, reason="same digest")
    if previous is None:
        return PlanItem(tag, "added", digest, None, reason="new")
    return PlanItem(tag, "moved", digest, previous, reason="points elsewhere at the target")


def plan_deletions(listed: Iterable[str], roots: Mapping[str, Digest], here: Collection[Digest]) -> list[str]:
    """Return the tags of the other registry that a mirror does not keep.

    Tags that were attached there to an image that stays are kept: cosign's tags, and lists of referrers. `here` are the
    manifests of the roots.
    """
    subjects = {fallback_tag(digest) for digest in here}
    gone = []
    for tag in listed:
        companion = _COMPANION.fullmatch(tag)
        if tag not in roots and is_tag(tag) and not (companion and companion[1] in subjects):
            gone.append(tag)
    return gone
