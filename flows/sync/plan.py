"""What a sync would do, and the changes that come of it: pure rules over a version and what upstream has."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.versions.changes import AddManifest, Change, RemoveManifest, RemoveTag, SetTag
from catalog.versions.snapshot import Snapshot
from flows.forms.modes import Mode
from flows.runs.metering import StagedManifest
from flows.runs.plan_items import COPIED, Action, PlanItem
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.reference import is_tag


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Items in the order of upstream, then what goes; `base` is the version they were planned on."""

    base: int
    items: tuple[PlanItem, ...]

    def told(self, origins: Mapping[str, str]) -> "SyncPlan":
        """The same with the name of the remote that each tag was found at in its reason."""
        items = (
            replace(item, reason=f"{item.reason}, from {origins[item.tag]}")
            if item.tag in origins and item.action not in ("removed", "failed")
            else item
            for item in self.items
        )
        return SyncPlan(self.base, tuple(items))

    def counts(self) -> Counter[str]:
        """How many items there are of each action."""
        return Counter(item.action for item in self.items)

    def of(self, *actions: Action) -> Iterator[PlanItem]:
        """The items of these actions."""
        return (item for item in self.items if item.action in actions)


def plan_sync(
    base: Snapshot,
    upstream: Mapping[str, Descriptor],
    *,
    mode: Mode = "additive",
    failed: Mapping[str, str] | None = None,
    dropped: Mapping[str, str] | None = None,
    incomplete: Collection[Digest] = (),
) -> SyncPlan:
    """Compare a version with what upstream's selected tags point to.

    `failed` gives the reason for each tag that could not be resolved or copied: it stays as it is. `dropped` gives the
    reason why a tag was not selected. `incomplete` are manifests in the base of which more is wanted than it holds.
    """
    failed, dropped = failed or {}, dropped or {}
    items = [_plan_tag(base, tag, found, incomplete) for tag, found in upstream.items() if tag not in failed]
    items += [
        PlanItem(tag, "failed", base.tags.get(tag), base.tags.get(tag), reason=reason) for tag, reason in failed.items()
    ]
    if mode == "mirror":
        items += [
            PlanItem(tag, "removed", previous=base.tags[tag], reason=dropped.get(tag, "not upstream"))
            for tag in base.sorted_tags
            if tag not in upstream and tag not in failed
        ]
    return SyncPlan(base.version, tuple(items))


def _plan_tag(base: Snapshot, tag: str, found: Descriptor, incomplete: Collection[Digest]) -> PlanItem:
    previous = base.tags.get(tag) if is_tag(tag) else (found.digest if found.digest in base.manifests else None)
    if previous == found.digest and found.digest in incomplete:
        return PlanItem(tag, "completed", found.digest, previous, found.size, "more of it is wanted than is held")
    if previous == found.digest:
        return PlanItem(tag, "unchanged", found.digest, previous, reason="same digest")
    if previous is None:
        return PlanItem(tag, "added", found.digest, None, found.size, "new")
    return PlanItem(tag, "moved", found.digest, previous, found.size, "points elsewhere upstream")


def plan_changes(
    base: Snapshot,
    plan: SyncPlan,
    *,
    mode: Mode,
    staged: Mapping[Digest, StagedManifest],
    children: Mapping[Digest, Iterable[Digest]] | None = None,
) -> tuple[Change, ...]:
    """Turn a plan whose content has been copied into changes of its base.

    `staged` holds every manifest that was copied or found in place, `children` what the base's manifests are made of (needed
    to mirror). Additive: all that is staged comes in. Mirror: what neither a tag reaches, nor refers to what stays, goes.
    """
    pointing = {item.tag: item.digest for item in plan.of(*COPIED, "unchanged") if item.digest}
    changes: list[Change] = [
        AddManifest(found.descriptor) for digest, found in staged.items() if digest not in base.manifests
    ]
    changes += [SetTag(tag, digest) for tag, digest in pointing.items() if is_tag(tag) and base.tags.get(tag) != digest]
    changes += [RemoveTag(item.tag) for item in plan.of("removed")]
    if mode == "mirror":
        roots = [*pointing.values(), *(item.digest for item in plan.of("failed") if item.digest)]
        kept = reachable(base, roots, staged=staged, children=children or {})
        changes += [RemoveManifest(digest) for digest in base.manifests if digest not in kept]
    return tuple(changes)


def reachable(
    base: Snapshot,
    roots: Iterable[Digest],
    *,
    staged: Mapping[Digest, StagedManifest],
    children: Mapping[Digest, Iterable[Digest]],
) -> set[Digest]:
    """The manifests that stay with `roots`: what these are made of, and what refers to anything that stays."""
    referrers: dict[Digest, list[Digest]] = {subject: list(found) for subject, found in base.referrers.items()}
    for digest, found in staged.items():
        if found.subject:
            referrers.setdefault(found.subject, []).append(digest)
    kept: set[Digest] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in kept or (digest not in staged and digest not in base.manifests):
            continue
        kept.add(digest)
        parts: Sequence[Digest] = [part.digest for part in staged[digest].manifests] if digest in staged else ()
        waiting += [*parts, *children.get(digest, ()), *referrers.get(digest, ())]
    return kept
