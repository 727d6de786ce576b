"""The steps of a sync as plain functions, each one task of the flow. They know nothing of Prefect."""

import asyncio
from collections.abc import Iterable, Sequence

from catalog.blobs.origins import Origin
from catalog.content.copy_ends import RepositoryTarget
from catalog.filters.tags import TagFilter
from catalog.versions.changes import Commit, LatestIs
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import remote_origins
from flows.runs.failures import each
from flows.runs.metering import Meter, MeteredTarget, StagedManifest, meter, staged_manifest
from flows.sync.blend import blended_of
from flows.sync.job import Batch, Committed, Outcome, Root, SyncJob, is_pinned, origin_of
from flows.sync.plan import SyncPlan, plan_changes
from flows.sync.request import asked_for
from flows.sync.upstream_reader import Upstream
from oci import mediatypes
from oci.copy import GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import (
    Conflict,
    EntrepotError,
    RemoteCorrupt,
    RemoteLeftOut,
    RemoteNotFound,
    RemoteRefused,
    RemoteUnauthorized,
)


async def list_tags(_job: SyncJob, source: Upstream) -> list[str]:
    """Return every tag of an upstream, in its order."""
    return [tag async for tag in source.tags()]


async def resolve_batch(job: SyncJob, batch: Batch) -> Outcome:
    """Ask upstream where each tag of the batch points, by HEAD; a tag it does not know is a failure of that tag."""
    outcome = Outcome()
    found: dict[str, Descriptor] = {}
    slots = asyncio.Semaphore(job.concurrency)

    async def resolve(tag: str) -> None:
        async with slots:
            found[tag] = await job.source.resolve(tag if blended_of(job) else asked_for(job.request, tag))
        job.progress.done += 1

    await each(batch.tags, resolve, outcome.failed)
    outcome.found = {tag: found[tag] for tag in batch.tags if tag in found}
    return outcome


async def copy_batch(job: SyncJob, batch: Batch) -> Outcome:
    """Copy the batch's roots, what they are made of and what refers to them; what is held already is not fetched.

    A root that upstream no longer has is looked up once more by its tags. Failures of ours end the sync.
    """
    assert batch.base is not None
    outcome = Outcome()
    target = MeteredTarget(
        RepositoryTarget(job.catalog, batch.base, job.incomplete, source=job.source), job.progress, job.parts
    )
    copier = GraphCopier(job.source, target, concurrency=job.concurrency, parts=job.parts, may_lack=job.takes_without)
    roots = {root.descriptor.digest: root for root in batch.roots}

    async def copy(digest: str) -> None:
        meter.set(Meter())
        root = roots[Digest(digest)]
        try:
            copied = await _copy_root(job, copier, root, outcome)
        except RemoteNotFound as error:
            copied = await _copy_moved(job, copier, root, outcome, error)
        if copied:
            outcome.moved[copied[0]] = meter.get()
        job.progress.done += len(root.tags)

    failed: dict[str, EntrepotError] = {}
    try:
        await each(roots, copy, failed)
    finally:
        await copier.close()
    for digest, error in failed.items():
        outcome.failed.update(dict.fromkeys(roots[Digest(digest)].tags, error))
    wanted = [found for tag, found in outcome.found.items() if tag not in outcome.failed]
    outcome.staged = await asyncio.to_thread(collect_staged, job, batch.base, wanted, target.staged)
    return outcome


async def _copy_root(job: SyncJob, copier: GraphCopier, root: Root, outcome: Outcome) -> tuple[str, ...]:
    await copier.copy(root.descriptor)
    await _copy_companions(job, copier, root.descriptor)
    outcome.found.update(dict.fromkeys(root.tags, root.descriptor))
    return root.tags


async def _copy_companions(job: SyncJob, copier: GraphCopier, subject: Descriptor) -> None:
    """Copy what refers to a manifest that is copied, or to a child of it, and what refers to these again."""
    if not job.companions.patterns:
        return
    digest = subject.digest
    if digest not in job.referrers:
        found = await _referrers(job, digest)
        job.referrers[digest] = [one for one in found if await _is_wanted(job, one)]
    for referrer in list(job.referrers[digest]):
        try:
            await copier.copy(referrer)
        except (RemoteNotFound, RemoteUnauthorized, RemoteRefused) as error:
            said = "does not have it" if isinstance(error, RemoteNotFound) else f"does not give it: {error.message}"
            job.note(f"{referrer.digest} is listed as referring to {digest}, but upstream {said}")
            job.referrers[digest] = [found for found in job.referrers[digest] if found.digest != referrer.digest]
    further = [*job.referrers[digest]]
    if subject.media_type in mediatypes.INDEXES:
        manifest = await asyncio.to_thread(job.catalog.manifests.read, digest, subject.media_type)
        children = (child for _role, child in job.children(manifest))
        further += [child for child in children if child.media_type in mediatypes.MANIFESTS]
    await asyncio.gather(*(_copy_companions(job, copier, one) for one in further))


async def _referrers(job: SyncJob, digest: Digest) -> Sequence[Descriptor]:
    """What refers to a manifest; where that is refused, or no list of it, there is nothing, and a note."""
    try:
        return await job.source.referrers(digest)
    except (RemoteUnauthorized, RemoteRefused, RemoteCorrupt) as error:
        said = f"what refers to manifests of {job.request.reference.repository} is left out"
        if not any(note.startswith(said) for note in job.notes):
            job.note(f"{said}: {error.message}")
        return ()


async def find_attached(job: SyncJob, base: Snapshot) -> frozenset[Digest]:
    """The manifests of the base to which upstream has attached what the base has not, and the way from tags to them: one request
    for each manifest that tags point to, for its children and for what refers to these."""
    children, slots, found = job.children_of(base), asyncio.Semaphore(job.concurrency), set[Digest]()

    async def look(root: Digest) -> None:
        waiting: list[tuple[Digest, ...]] = [(root,)]
        seen = {root}
        while waiting:
            way = waiting.pop()
            async with slots:
                listed = await _referrers(job, way[-1])
            wanted = {one.digest for one in listed if await _is_wanted(job, one)}
            if not wanted <= base.manifests.keys():
                found.update(way)
            further = ({*wanted, *children.get(way[-1], ())} & base.manifests.keys()) - seen
            seen |= further
            waiting += [(*way, one) for one in further]

    roots = {one.digest for one in job.found.values() if one.digest in base.manifests}
    await asyncio.gather(*map(look, roots))
    return frozenset(found)


async def _is_wanted(job: SyncJob, referrer: Descriptor) -> bool:
    """Whether a referrer is of a type that is wanted; one whose type is not listed is asked for it."""
    if job.companions.selects("") or job.companions.selects(referrer.artifact_type):
        return True
    if referrer.artifact_type:
        return False
    try:
        manifest = await job.source.read_manifest(referrer)
    except (RemoteNotFound, RemoteUnauthorized, RemoteRefused):
        return False
    return job.companions.selects(manifest.artifact_type or (manifest.config.media_type if manifest.config else ""))


async def _copy_moved(
    job: SyncJob, copier: GraphCopier, root: Root, outcome: Outcome, error: RemoteNotFound
) -> tuple[str, ...]:
    """Copy what the root's tags point to by now; a tag that still points to the root fails with the first error."""
    copied: tuple[str, ...] = ()
    for tag in root.tags:
        try:
            pinned = not blended_of(job) and is_pinned(job.request, tag)
            now = root.descriptor if pinned else await job.source.resolve(tag)
            if now.digest == root.descriptor.digest:
                outcome.failed[tag] = error
            else:
                copied += await _copy_root(job, copier, Root(now, (tag,)), outcome)
        except RemoteNotFound as gone:
            outcome.failed[tag] = gone
    return copied


def companion_tags(job: SyncJob, base: Snapshot) -> dict[str, str]:
    """The tags not looked up yet that may hold companions of what is selected, with the rule that takes them.

    A tag that is excluded by name stays out.
    """
    if not job.companions.patterns:
        return {}
    candidates: dict[str, str] = {}
    for digest in _selected(job, base):
        for tag in job.companions.tags_of(digest):
            known = tag in job.found or tag in job.failed or tag in job.may_lack
            if not known and _may_be_upstream(job, base, digest, tag):
                candidates[tag] = f"belongs to {digest}"
                if (blended := blended_of(job)) is not None:
                    blended.look_beside(tag, digest)
    wanted = TagFilter(exclude=job.request.exclude).select(candidates).rules
    return {tag: rule for tag, rule in candidates.items() if tag in wanted}


def _may_be_upstream(job: SyncJob, base: Snapshot, digest: Digest, tag: str) -> bool:
    """Whether it is worth asking for a tag: it was listed; or nothing was, and its subject is new, or a mirror has the tag."""
    blended = blended_of(job)
    listed = blended.listed_beside(digest) if blended else job.listed
    if listed is not None:
        return tag in listed
    return digest not in base.manifests or (job.request.mode == "mirror" and tag in base.tags)


def _selected(job: SyncJob, base: Snapshot) -> set[Digest]:
    """The manifests that selected tags point to, and their children as far as they are known by now."""
    children = job.children_of(base)
    selected: set[Digest] = set()
    waiting = [found.digest for tag, found in job.found.items() if tag not in job.failed]
    while waiting:
        digest = waiting.pop()
        if digest in selected:
            continue
        selected.add(digest)
        if digest in job.staged:
            waiting += [part.digest for part in job.staged[digest].manifests]
        waiting += [part for part in children.get(digest, ()) if part in base.manifests]
    return selected


def collect_staged(
    job: SyncJob, base: Snapshot, roots: Iterable[Descriptor], known: dict[Digest, StagedManifest]
) -> dict[Digest, StagedManifest]:
    """The manifests that `roots` are made of, and what refers to them, as far as the base lacks them.

    Those that an earlier run has copied are read."""
    staged: dict[Digest, StagedManifest] = {}
    waiting = list(roots)
    while waiting:
        descriptor = waiting.pop()
        digest = descriptor.digest
        is_whole = digest in base.manifests and digest not in job.incomplete
        if digest in staged or is_whole or descriptor.media_type not in mediatypes.MANIFESTS:
            continue
        found = known.get(digest)
        if found is None:
            manifest = job.catalog.manifests.read(digest, descriptor.media_type)
            found = staged_manifest(manifest, job.children)
        staged[digest] = found
        further = [*found.manifests, *job.referrers.get(digest, ())]
        if (blended := blended_of(job)) is not None:
            blended.inherit(digest, (one.digest for one in further))
        waiting += further
    return staged


async def measure_batch(job: SyncJob, batch: Batch) -> Outcome:
    """Say what copying the batch would move, reading manifests only; what roots share is charged to the first."""
    assert batch.base is not None
    base, outcome = batch.base, Outcome()
    seen: set[Digest] = set()

    async def measure(descriptor: Descriptor, depth: int = 0) -> None:
        digest = descriptor.digest
        is_whole = digest in base.manifests and digest not in job.incomplete
        if digest in seen or is_whole or digest in base.blobs:
            return
        seen.add(digest)
        if await asyncio.to_thread(_must_come, job, base, digest):
            meter.get().items += 1
            meter.get().bytes += max(descriptor.size, 0)
        if descriptor.media_type in mediatypes.MANIFESTS:
            try:
                manifest = await job.source.read_manifest(descriptor)
            except RemoteLeftOut as error:
                if depth and job.takes_without(descriptor, error):
                    return
                raise
            for _role, child in job.parts(manifest):
                if not mediatypes.is_nondistributable(child.media_type):
                    await measure(child, depth + 1)

    roots = {root.tags[0]: root for root in batch.roots}

    async def measure_root(tag: str) -> None:
        meter.set(Meter())
        await measure(roots[tag].descriptor)
        outcome.moved[tag] = meter.get()
        job.progress.done += len(roots[tag].tags)

    await each(roots, measure_root, outcome.failed)
    return outcome


def _must_come(job: SyncJob, base: Snapshot, digest: Digest) -> bool:
    """Whether content has to be sent, as far as that is known without asking: what others hold counts for nothing."""
    rights = job.catalog.rights
    return rights.usable_size(base, digest) is None and not rights.is_public(digest)


async def commit_version(job: SyncJob, plan: SyncPlan, base: Snapshot) -> Committed:
    """Make the version; None when the repository has another latest version than the plan's base by now."""
    return await asyncio.to_thread(_commit, job, plan, base)


def _commit(job: SyncJob, plan: SyncPlan, base: Snapshot) -> Committed:
    try:
        return job.catalog.commits.commit(commit_of(job, plan, base))
    except Conflict:
        return None


def commit_of(job: SyncJob, plan: SyncPlan, base: Snapshot) -> Commit:
    """The commit that a plan comes to on its base."""
    mode = job.mode
    children = _children_that_stay(job, base) if mode == "mirror" and base.manifests else {}
    changes = plan_changes(base, plan, mode=mode, staged=job.staged, children=children)
    return Commit(
        repository=job.target,
        operation="sync",
        changes=changes,
        requirements=(LatestIs(base.version),),
        operation_id=job.operation_id,
        flow_run_id=job.flow_run_id,
        actor="sync-repository",
        message=f"{mode} sync of {', '.join(map(str, (one.reference for one in job.request.each_alone())))}"[:1000],
        created_at=job.clock(),
        resumable=True,
        allow_sparse=bool(job.platforms.wanted or job.left_out),
        origin=job.origin,
        origins=_origins(job),
        version_origins=remote_origins(one.upstream for one in job.request.each_alone()),
        serve=job.serve,
    )


def _origins(job: SyncJob) -> dict[Digest, Origin]:
    """Where layers can be fetched of manifests that came from another remote than the first."""
    blended = blended_of(job)
    homes = {digest: blended.home_of(digest) for digest in job.staged} if blended and job.origin else {}
    found = {digest: origin_of(home.request, job.policy) for digest, home in homes.items() if home is not None}
    return {digest: origin for digest, origin in found.items() if origin is not None}


def find_incomplete(job: SyncJob, base: Snapshot) -> frozenset[Digest]:
    """The manifests that tags point to, and those within, of which more is wanted now than the base has: further platforms,
    and with the policy `immediate` layers that were left upstream."""
    elsewhere = _left_upstream(job, base) | _lost(job, base)
    kinds = mediatypes.MANIFESTS if elsewhere else mediatypes.INDEXES
    held = [one.digest for one in job.found.values() if one.media_type in kinds and one.digest in base.manifests]
    if not held:
        return frozenset()
    children, found = job.children_of(base), set[Digest]()

    def lacks(digest: Digest) -> bool:
        """Whether a part is missing; in a repository that holds all, no manifest is read for that."""
        media_type, parts = base.manifests[digest].media_type, children.get(digest, ())
        if digest in elsewhere or not elsewhere.isdisjoint(parts):
            found.add(digest)
        if media_type not in mediatypes.INDEXES:
            return digest in found
        missing = {part for part in parts if part not in base.manifests and part not in base.blobs}
        if missing and digest not in elsewhere:
            manifest = job.catalog.manifests.read(digest, media_type)
            missing &= {part.digest for _role, part in job.children(manifest)}
        deeper = [part for part in parts if part in base.manifests and lacks(part)]
        if missing or deeper:
            found.add(digest)
        return digest in found

    for digest in held:
        lacks(digest)
    return frozenset(found)


def _left_upstream(job: SyncJob, base: Snapshot) -> set[Digest]:
    """The base's blobs that are not in the store and should be."""
    if job.policy != "immediate" or not base.deferred:
        return set()
    return job.catalog.rights.missing(base)


def _lost(job: SyncJob, base: Snapshot) -> set[Digest]:
    """What a scrub has set aside of the base, and nobody has brought anew."""
    return {
        digest for digest in job.catalog.maintenance.scrubber.lost() if digest in base.blobs or digest in base.manifests
    }


def _children_that_stay(job: SyncJob, base: Snapshot) -> dict[Digest, tuple[Digest, ...]]:
    """What the base's manifests are made of, without children of platforms that are not wanted."""
    children = dict(job.children_of(base))
    if job.platforms.wanted:
        for digest, entry in base.manifests.items():
            if entry.media_type in mediatypes.INDEXES:
                manifest = job.catalog.manifests.read(digest, entry.media_type)
                children[digest] = tuple(part.digest for _role, part in job.platforms.children(manifest))
    return children
