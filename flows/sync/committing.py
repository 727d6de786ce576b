"""The stage Committed: the changes that a plan comes to, and the version made of them. The rules are pure."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from catalog.blobs.origins import Origin
from catalog.versions.changes import (
    AddManifest,
    Change,
    Commit,
    CommitResult,
    LatestIs,
    RemoveManifest,
    RemoveTag,
    SetTag,
)
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import remote_origins
from flows.forms.modes import Mode
from flows.runs.metering import StagedManifest
from flows.runs.plan_items import COPIED
from flows.sync.companions import Children
from flows.sync.context import Provenance, SyncContext
from flows.sync.copying import Copied
from flows.sync.planning import SyncPlan, children_of, plan_on
from flows.sync.request import SyncRequest
from oci import mediatypes
from oci.digest import Digest
from oci.errors import Conflict, ManifestBlobUnknown, ManifestUnknown
from oci.reference import is_tag

CommitVersion = Callable[[SyncContext, Copied], Awaitable[CommitResult | None]]
"""Makes the version; returns None where the repository has another latest version than the plan's base by now."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The plan that was committed, and the version; None where others have made a version meanwhile: plan again."""

    copied: Copied
    version: CommitResult | None


async def commit(
    context: SyncContext, copied: Copied, *, commit_version: CommitVersion, is_last_try: bool
) -> Committed:
    """Commit a plan on its base; on the last try, plan and commit on the latest version while nobody can make another.

    Where nothing changes, no step is run, and nobody waits for the write lock.
    """
    for remark in (remark for member in context.sources.members for remark in member.remarks):
        context.log.note(remark)
    context.progress.begin("committing", 0)
    unchanged = await asyncio.to_thread(_find_unchanged, context, copied)
    if unchanged is not None:
        return Committed(copied, unchanged)
    version = await commit_version(context, copied)
    if version is None and is_last_try:
        return await asyncio.to_thread(_commit_latest, context, copied)
    return Committed(copied, version)


def _find_unchanged(context: SyncContext, copied: Copied) -> CommitResult | None:
    """Return the latest version where it is the plan's base and the plan changes nothing, else None."""
    base, children = copied.planned.base, copied.planned.children
    if copied.content.staged or any(copied.plan.of(*COPIED, "removed")):
        return None
    latest = context.catalog.snapshots.find(context.target) or Snapshot(context.target, 0)
    if latest.version != base.version or commit_of(context, copied, base, children).changes:
        return None
    return CommitResult(context.target, base.version, changed=False, snapshot=latest)


async def commit_version(context: SyncContext, copied: Copied) -> CommitResult | None:
    """Make the version; return None where the repository has another latest version than the plan's base by now."""
    return await asyncio.to_thread(_commit, context, copied)


def _commit(context: SyncContext, copied: Copied) -> CommitResult | None:
    base, children = copied.planned.base, copied.planned.children
    try:
        return context.catalog.commits.commit(commit_of(context, copied, base, children))
    except Conflict:
        return None


def _commit_latest(context: SyncContext, copied: Copied) -> Committed:
    """Plan on the latest version while nobody can make another; no version when content is gone that was not copied."""
    plan = copied.plan

    def commit_on(latest: Snapshot) -> Commit:
        nonlocal plan
        plan = plan_on(context, copied.resolved, latest, copied.incomplete)
        is_mirror = copied.resolved.selected.mode == "mirror"
        children = children_of(context, latest) if is_mirror else {}
        return commit_of(context, replace(copied, plan=plan), latest, children)

    try:
        version = context.catalog.commits.commit_latest(context.target, commit_on)
    except (Conflict, ManifestUnknown, ManifestBlobUnknown):
        version = None
    return Committed(replace(copied, plan=plan), version)


def commit_of(context: SyncContext, copied: Copied, base: Snapshot, children: Children) -> Commit:
    """Return the commit that a plan comes to on its base."""
    resolved, staged, request = copied.resolved, copied.content.staged, context.request
    mode = resolved.selected.mode
    if mode == "mirror" and base.manifests:
        children = _selected_children(context, base, children)
    changes = plan_changes(base, copied.plan, mode=mode, staged=staged, children=children)
    recorded = context.provenance or _provenance_of(request, mode)
    return Commit(
        repository=context.target,
        operation=recorded.operation,
        changes=changes,
        requirements=(LatestIs(base.version),),
        operation_id=context.operation_id,
        flow_run_id=context.flow_run_id,
        actor=recorded.actor,
        message=recorded.message[:1000],
        created_at=context.clock(),
        resumable=True,
        checked_until=context.checked_until,
        allow_sparse=bool(context.platforms.wanted or resolved.left_out),
        origin=context.origin_of(request),
        origins=layer_origins(context, staged),
        serve=context.serve,
        version_origins=recorded.origins,
    )


def _provenance_of(request: SyncRequest, mode: Mode) -> Provenance:
    remotes = ", ".join(str(one.reference) for one in request.each_alone())
    origins = remote_origins(one.upstream for one in request.each_alone())
    return Provenance("sync", "sync-repository", f"{mode} sync of {remotes}", origins)


def layer_origins(context: SyncContext, manifests: Iterable[Digest]) -> dict[Digest, Origin]:
    """Return where layers of manifests can be fetched that were not copied, where they are not at the first source."""
    homes = {digest: context.sources.home_of(digest) for digest in manifests}
    origins = {
        digest: context.origin_of(home.request)
        for digest, home in homes.items()
        if home is not None and home is not context.sources.members[0]
    }
    return {digest: origin for digest, origin in origins.items() if origin is not None}


def _selected_children(context: SyncContext, base: Snapshot, children: Children) -> Children:
    """Return the parts of the base's manifests, without children of platforms that are not selected."""
    if not context.platforms.wanted:
        return children
    selected = dict(children)
    for digest, entry in base.manifests.items():
        if entry.media_type in mediatypes.INDEXES:
            manifest = context.catalog.manifests.read(digest, entry.media_type)
            selected[digest] = tuple(part.digest for _role, part in context.platforms.children(manifest))
    return selected


def plan_changes(
    base: Snapshot,
    plan: SyncPlan,
    *,
    mode: Mode,
    staged: Mapping[Digest, StagedManifest],
    children: Mapping[Digest, Iterable[Digest]] | None = None,
) -> tuple[Change, ...]:
    """Turn a plan whose content has been copied into changes of its base.

    `staged` holds every manifest that was copied or found in place, `children` the parts of the base's manifests (needed to
    mirror). Additive: all that is staged is added. Mirror: a manifest is removed that no tag reaches, unless it refers to one
    that stays.
    """
    pointing = {item.tag: item.digest for item in plan.of(*COPIED, "unchanged") if item.digest}
    changes: list[Change] = [
        AddManifest(manifest.descriptor) for digest, manifest in staged.items() if digest not in base.manifests
    ]
    changes += [SetTag(tag, digest) for tag, digest in pointing.items() if is_tag(tag) and base.tags.get(tag) != digest]
    changes += [RemoveTag(item.tag) for item in plan.of("removed")]
    if mode == "mirror":
        roots = [*pointing.values(), *(item.digest for item in plan.of("failed", "refused") if item.digest)]
        remaining = reachable(base, roots, staged=staged, children=children or {})
        changes += [RemoveManifest(digest) for digest in base.manifests if digest not in remaining]
    return tuple(changes)


def reachable(
    base: Snapshot,
    roots: Iterable[Digest],
    *,
    staged: Mapping[Digest, StagedManifest],
    children: Mapping[Digest, Iterable[Digest]],
) -> set[Digest]:
    """Return the manifests that stay with `roots`: their parts, and what refers to anything that stays."""
    referrers: dict[Digest, list[Digest]] = {subject: list(listed) for subject, listed in base.referrers.items()}
    for digest, manifest in staged.items():
        if manifest.subject:
            referrers.setdefault(manifest.subject, []).append(digest)
    remaining: set[Digest] = set()
    waiting = list(roots)
    while waiting:
        digest = waiting.pop()
        if digest in remaining or (digest not in staged and digest not in base.manifests):
            continue
        remaining.add(digest)
        parts: Sequence[Digest] = [part.digest for part in staged[digest].manifests] if digest in staged else ()
        waiting += [*parts, *children.get(digest, ()), *referrers.get(digest, ())]
    return remaining
