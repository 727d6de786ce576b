"""The stage Planned: what a sync would do on the latest version. The rules are pure; the stage reads the version."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from catalog.filters.companions import is_companion_tag
from catalog.versions.snapshot import Snapshot
from flows.forms.modes import Mode
from flows.runs.plan_items import Action, PlanItem
from flows.sync.batches import BatchStep, Content
from flows.sync.companions import Children, add_companions, find_attached
from flows.sync.context import SyncContext
from flows.sync.resolution import Resolved
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import QuotaExceeded
from oci.reference import is_tag


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Items in the order of upstream, then what goes; `base` is the version they were planned on."""

    base: int
    items: tuple[PlanItem, ...]

    def with_sources(self, names: Mapping[str, str]) -> "SyncPlan":
        """Return the same plan; the reason of each tag names the source that it was found at, where `names` has one."""
        items = (
            replace(item, reason=f"{item.reason}, from {names[item.tag]}")
            if names.get(item.tag) and item.action not in ("removed", "failed")
            else item
            for item in self.items
        )
        return SyncPlan(self.base, tuple(items))

    def counts(self) -> Counter[str]:
        """Return how many items there are of each action."""
        return Counter(item.action for item in self.items)

    def of(self, *actions: Action) -> Iterator[PlanItem]:
        """Yield the items of these actions."""
        return (item for item in self.items if item.action in actions)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan on one version.

    `children` are the parts of the base's manifests, `incomplete` the manifests in it that lack parts which are selected now.
    `content` has been copied under an earlier plan, before others made a version.
    """

    resolved: Resolved
    base: Snapshot
    children: Children
    incomplete: frozenset[Digest]
    plan: SyncPlan
    content: Content


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest version of the repository here, and the parts of its manifests."""

    version: Snapshot
    children: Children


def read_latest(context: SyncContext, known: Latest | None = None) -> Latest:
    """Return the latest version, which may be the one that is known already. It may take a while, so call it on a thread."""
    version = context.catalog.snapshots.find(context.target) or Snapshot(context.target, 0)
    if known is not None and known.version.version == version.version:
        return known
    return Latest(version, children_of(context, version))


async def plan(
    context: SyncContext, resolved: Resolved, content: Content, known: Latest | None = None, *, resolve_batch: BatchStep
) -> Planned:
    """Plan on the latest version, with companions that are known by now; raise QuotaExceeded before anything is copied."""
    latest = await asyncio.to_thread(read_latest, context, known)
    base, children = latest.version, latest.children
    incomplete = await asyncio.to_thread(find_incomplete, context, resolved, base, children)
    if context.request.recheck and context.companions.patterns:
        incomplete |= await find_attached(context, resolved, base, children)
    resolved, _added = await add_companions(
        context, resolved, base, children=children, staged=content.staged, resolve_batch=resolve_batch
    )
    planned = Planned(resolved, base, children, incomplete, plan_on(context, resolved, base, incomplete), content)
    _check_quota(context, planned.plan)
    return planned


def plan_on(context: SyncContext, resolved: Resolved, base: Snapshot, incomplete: frozenset[Digest]) -> SyncPlan:
    """Plan what tags of upstream change in a version; pure."""
    plan = plan_sync(
        base,
        resolved.pointing,
        mode=resolved.selected.mode,
        failed=resolved.failed,
        dropped=resolved.selection.dropped,
        incomplete=incomplete,
        untrusted=resolved.untrusted,
    )
    if len(context.sources.members) == 1:
        return plan
    return plan.with_sources({item.tag: context.sources.name_of(item.tag) for item in plan.items})


def plan_sync(
    base: Snapshot,
    upstream: Mapping[str, Descriptor],
    *,
    mode: Mode = "additive",
    failed: Mapping[str, str] | None = None,
    dropped: Mapping[str, str] | None = None,
    incomplete: Collection[Digest] = (),
    untrusted: Mapping[str, str] | None = None,
) -> SyncPlan:
    """Compare a version with what upstream's selected tags point to.

    `failed` gives the reason for each tag that could not be resolved or copied: it stays as it is. `dropped` gives the
    reason why a tag was not selected. `incomplete` are manifests in the base that lack parts which are selected now.
    `untrusted` gives the reason for each tag that a trust policy refuses: it stays as it is, with its companions.
    """
    failed, dropped, untrusted = failed or {}, dropped or {}, untrusted or {}
    items = [
        _plan_tag(base, tag, root, incomplete)
        for tag, root in upstream.items()
        if tag not in failed and tag not in untrusted
    ]
    items += [
        PlanItem(tag, "refused", base.tags.get(tag), base.tags.get(tag), reason=reason)
        for tag, reason in untrusted.items()
        if tag not in failed
    ]
    items += [
        PlanItem(tag, "failed", base.tags.get(tag), base.tags.get(tag), reason=reason) for tag, reason in failed.items()
    ]
    if mode == "mirror":
        gone = [tag for tag in base.sorted_tags if tag not in upstream and tag not in failed]
        kept = {tag for tag in gone if untrusted and is_companion_tag(tag)}
        items += [
            PlanItem(tag, "unchanged", base.tags[tag], base.tags[tag], reason="it may belong to what is kept")
            if tag in kept
            else PlanItem(tag, "removed", previous=base.tags[tag], reason=dropped.get(tag, "not upstream"))
            for tag in gone
        ]
    return SyncPlan(base.version, tuple(items))


def _plan_tag(base: Snapshot, tag: str, root: Descriptor, incomplete: Collection[Digest]) -> PlanItem:
    previous = base.tags.get(tag) if is_tag(tag) else (root.digest if root.digest in base.manifests else None)
    if previous == root.digest and root.digest in incomplete:
        return PlanItem(tag, "completed", root.digest, previous, root.size, "parts of it are missing here")
    if previous == root.digest:
        return PlanItem(tag, "unchanged", root.digest, previous, reason="same digest")
    if previous is None:
        return PlanItem(tag, "added", root.digest, None, root.size, "new")
    return PlanItem(tag, "moved", root.digest, previous, root.size, "points elsewhere upstream")


def children_of(context: SyncContext, base: Snapshot) -> Children:
    """Return the parts of each manifest of a version, by one query where they are not known.

    It may take a while, so call it on a thread.
    """
    if base.version in context.children_known:
        return context.children_known[base.version]
    return context.catalog.history.children(context.target) if base.manifests else {}


def find_incomplete(context: SyncContext, resolved: Resolved, base: Snapshot, children: Children) -> frozenset[Digest]:
    """Return the manifests that tags point to, and those within, that lack parts which are selected now.

    Such parts are further platforms, with the policy `immediate` layers that were left upstream, and what a scrub has set aside.
    """
    elsewhere = _left_upstream(context, base) | _lost(context, base)
    kinds = mediatypes.MANIFESTS if elsewhere else mediatypes.INDEXES
    roots = [
        root.digest for root in resolved.pointing.values() if root.media_type in kinds and root.digest in base.manifests
    ]
    incomplete: set[Digest] = set()

    def lacks(digest: Digest) -> bool:
        """Return whether a part is missing; in a repository that holds all, no manifest is read for that."""
        media_type, parts = base.manifests[digest].media_type, children.get(digest, ())
        if digest in elsewhere or not elsewhere.isdisjoint(parts):
            incomplete.add(digest)
        if media_type not in mediatypes.INDEXES:
            return digest in incomplete
        missing = {part for part in parts if part not in base.manifests and part not in base.blobs}
        if missing and digest not in elsewhere:
            manifest = context.catalog.manifests.read(digest, media_type)
            missing &= {part.digest for _role, part in context.children(manifest, resolved.left_out)}
        deeper = [part for part in parts if part in base.manifests and lacks(part)]
        if missing or deeper:
            incomplete.add(digest)
        return digest in incomplete

    for digest in roots:
        lacks(digest)
    return frozenset(incomplete)


def _left_upstream(context: SyncContext, base: Snapshot) -> set[Digest]:
    """Return the base's blobs that are not in the store and should be."""
    if context.policy != "immediate" or not base.deferred:
        return set()
    return context.catalog.rights.missing(base)


def _lost(context: SyncContext, base: Snapshot) -> set[Digest]:
    """Return the base's content that a scrub has set aside and that has not been copied anew."""
    return {
        digest
        for digest in context.catalog.maintenance.scrubber.lost()
        if digest in base.blobs or digest in base.manifests
    }


def _check_quota(context: SyncContext, plan: SyncPlan) -> None:
    """Raise QuotaExceeded where the plan shows that the version could not be committed; a dry run notes it."""
    counts = plan.counts()
    is_growing = context.request.mode == "additive"  # a mirror may give back more than it takes
    size = sum(item.size for item in plan.of("added", "moved")) if is_growing else 0
    try:
        context.catalog.quotas.check_room(context.target, tags=counts["added"] - counts["removed"], size=size)
    except QuotaExceeded as error:
        if not context.request.dry_run:
            raise
        context.log.note(error.message)
