"""Companions of what a sync selects: referrers, and cosign's tags for signatures, attestations and SBOMs."""

import asyncio
from collections.abc import Mapping, Sequence

from catalog.filters.tags import TagFilter
from catalog.versions.snapshot import Snapshot
from flows.runs.metering import StagedManifest
from flows.sync.batches import BatchStep
from flows.sync.context import SyncContext
from flows.sync.resolution import Resolved, resolve_tags
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized

Children = Mapping[Digest, tuple[Digest, ...]]
"""The parts of each manifest of a version."""

Staged = Mapping[Digest, StagedManifest]
"""Manifests that have been copied, or found in place."""


async def add_companions(
    context: SyncContext,
    resolved: Resolved,
    base: Snapshot,
    *,
    children: Children,
    staged: Staged,
    resolve_batch: BatchStep,
) -> tuple[Resolved, list[str]]:
    """Select the tags that hold companions of what is selected; return them too.

    Where upstream's tags were listed it costs a HEAD for each that is there; else one for each that may be, of new images only.
    """
    added: list[str] = []
    while candidates := await asyncio.to_thread(
        companion_tags, context, resolved, base, children=children, staged=staged
    ):
        resolved = resolved.with_companions(candidates, optional=[tag for tag in candidates if tag not in base.tags])
        resolved = await resolve_tags(context, resolved, list(candidates), resolve_batch)
        added += [tag for tag in candidates if tag in resolved.pointing]
        resolved = resolved.without([tag for tag in candidates if tag not in resolved.pointing])
    return resolved, added


def companion_tags(
    context: SyncContext, resolved: Resolved, base: Snapshot, *, children: Children, staged: Staged
) -> dict[str, str]:
    """Return the tags not looked up yet that may hold companions of what is selected, with the rule that selects each.

    A tag that is excluded by name stays out.
    """
    if not context.companions.patterns:
        return {}
    candidates: dict[str, str] = {}
    for digest in selected_manifests(resolved, base, children=children, staged=staged):
        for tag in context.companions.tags_of(digest):
            is_known = tag in resolved.pointing or tag in resolved.failed or tag in resolved.may_lack
            if not is_known and _may_be_upstream(context, base, digest, tag):
                candidates[tag] = f"belongs to {digest}"
                context.sources.look_beside(tag, digest)
    allowed = TagFilter(exclude=context.request.exclude).select(candidates).rules
    return {tag: rule for tag, rule in candidates.items() if tag in allowed}


def _may_be_upstream(context: SyncContext, base: Snapshot, digest: Digest, tag: str) -> bool:
    """Return whether to ask for a tag: it was listed; or nothing was, and its subject is new, or a mirror has the tag."""
    listed = context.sources.listed_beside(digest)
    if listed is not None:
        return tag in listed
    return digest not in base.manifests or (context.request.mode == "mirror" and tag in base.tags)


def selected_manifests(resolved: Resolved, base: Snapshot, *, children: Children, staged: Staged) -> set[Digest]:
    """Return the manifests that selected tags point to, and their children as far as they are known by now."""
    selected: set[Digest] = set()
    waiting = [root.digest for tag, root in resolved.pointing.items() if tag not in resolved.failed]
    while waiting:
        digest = waiting.pop()
        if digest in selected:
            continue
        selected.add(digest)
        if digest in staged:
            waiting += [part.digest for part in staged[digest].manifests]
        waiting += [part for part in children.get(digest, ()) if part in base.manifests]
    return selected


async def find_attached(
    context: SyncContext, resolved: Resolved, base: Snapshot, children: Children
) -> frozenset[Digest]:
    """Return the manifests of the base with new companions upstream, and the way from tags to them.

    It costs one request for each manifest that tags point to, for its children and for what refers to these.
    """
    slots, attached = asyncio.Semaphore(context.concurrency), set[Digest]()

    async def look(root: Digest) -> None:
        waiting: list[tuple[Digest, ...]] = [(root,)]
        seen = {root}
        while waiting:
            way = waiting.pop()
            async with slots:
                companions = {referrer.digest for referrer in await select_companions(context, way[-1])}
            if not companions <= base.manifests.keys():
                attached.update(way)
            further = ({*companions, *children.get(way[-1], ())} & base.manifests.keys()) - seen
            seen |= further
            waiting += [(*way, digest) for digest in further]

    roots = {root.digest for root in resolved.pointing.values() if root.digest in base.manifests}
    await asyncio.gather(*map(look, roots))
    return frozenset(attached)


async def select_companions(context: SyncContext, digest: Digest) -> list[Descriptor]:
    """Return the referrers of a manifest whose types are selected."""
    return [referrer for referrer in await _referrers(context, digest) if await _is_selected(context, referrer)]


async def _referrers(context: SyncContext, digest: Digest) -> Sequence[Descriptor]:
    """Return what refers to a manifest; nothing, with a note, where upstream refuses it or its list is corrupt."""
    try:
        return await context.reader.referrers(digest)
    except (RemoteUnauthorized, RemoteRefused, RemoteCorrupt) as error:
        message = f"what refers to manifests of {context.request.reference.repository} is left out"
        if not any(note.startswith(message) for note in context.log.notes):
            context.log.note(f"{message}: {error.message}")
        return ()


async def _is_selected(context: SyncContext, referrer: Descriptor) -> bool:
    """Return whether the type of a referrer is selected; a referrer whose type is not listed is read."""
    companions = context.companions
    if companions.selects("") or companions.selects(referrer.artifact_type):
        return True
    if referrer.artifact_type:
        return False
    try:
        manifest = await context.reader.read_manifest(referrer)
    except (RemoteNotFound, RemoteUnauthorized, RemoteRefused):
        return False
    return companions.selects(manifest.artifact_type or (manifest.config.media_type if manifest.config else ""))
