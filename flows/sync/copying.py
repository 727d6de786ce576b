"""The stage Copied: what a plan adds is here, or in a dry run measured. Companions that only show by copying are copied too."""

import asyncio
from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from catalog.content.copy_ends import RepositoryTarget
from catalog.versions.snapshot import Snapshot
from flows.runs.failures import each
from flows.runs.metering import Meter, MeteredTarget, StagedManifest, meter, staged_manifest
from flows.runs.plan_items import COPIED
from flows.sync.batches import Batch, BatchStep, Content, Outcome, Referrers, Root, root_batches
from flows.sync.companions import add_companions, select_companions
from flows.sync.context import Part, SyncContext
from flows.sync.planning import Planned, SyncPlan, find_incomplete, plan_on
from flows.sync.resolution import Resolved, add_outcomes
from oci import mediatypes
from oci.copy import GraphCopier
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteLeftOut, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Copied:
    """A plan whose content is here. `plan` is made anew of what has failed or moved while it was copied, so is `resolved`."""

    planned: Planned
    resolved: Resolved
    incomplete: frozenset[Digest]
    plan: SyncPlan
    content: Content


async def copy(
    context: SyncContext, planned: Planned, *, phase: str, copy_batch: BatchStep, resolve_batch: BatchStep
) -> Copied:
    """Copy what is new on the base of a plan, in batches; `phase` names that for the progress.

    Raises TagsFailed where a failure is not to be skipped.
    """
    base, resolved, content = planned.base, planned.resolved, planned.content
    tags: Collection[str] | None = None
    while True:
        plan = plan_on(context, resolved, base, planned.incomplete)
        items = [item.tag for item in plan.of(*COPIED) if tags is None or item.tag in tags]
        context.progress.begin(phase, len(items))
        resolved, content = await _copy_tags(context, planned, resolved, content, tags=items, copy_batch=copy_batch)
        resolved, tags = await add_companions(  # of children that were not known before
            context,
            resolved,
            base,
            children=planned.children,
            staged=content.staged,
            resolve_batch=resolve_batch,
        )
        if not tags:
            break
    incomplete = planned.incomplete
    if resolved.left_out:  # what upstream lacks is not missing here
        incomplete &= await asyncio.to_thread(find_incomplete, context, resolved, base, planned.children)
    return Copied(planned, resolved, incomplete, plan_on(context, resolved, base, incomplete), content)


async def _copy_tags(
    context: SyncContext,
    planned: Planned,
    resolved: Resolved,
    content: Content,
    *,
    tags: Iterable[str],
    copy_batch: BatchStep,
) -> tuple[Resolved, Content]:
    """Copy what tags point to; add what was found meanwhile."""
    outcomes: list[Outcome] = []
    referrers, left_out = dict(content.referrers), resolved.left_out
    staged = dict(content.staged)
    for roots in root_batches(tags, resolved.pointing, context.request.batch_size):
        batch = Batch(
            roots=roots, base=planned.base, incomplete=planned.incomplete, referrers=referrers, left_out=left_out
        )
        outcome = await copy_batch(context, batch)
        outcomes.append(outcome)
        staged |= outcome.staged
        referrers |= outcome.referrers
        left_out |= outcome.left_out
    return add_outcomes(context, resolved, outcomes), Content(staged, referrers)


async def copy_batch(context: SyncContext, batch: Batch) -> Outcome:
    """Copy the batch's roots, their parts and what refers to them; what is held already is not fetched.

    A root that upstream no longer has is looked up once more by its tags. Failures of this installation end the sync.
    """
    return await BatchCopier(context, batch).run()


class BatchCopier:
    """Copies one batch; collects its outcome. Use it within one event loop."""

    def __init__(self, context: SyncContext, batch: Batch) -> None:
        assert batch.base is not None
        self._context, self._base, self._incomplete = context, batch.base, batch.incomplete
        self._roots: Mapping[str, Root] = {root.descriptor.digest: root for root in batch.roots}
        self._pointing: dict[str, Descriptor] = {}
        self._failed: dict[str, EntrepotError] = {}
        self._moved: dict[str, Meter] = {}
        self._new_referrers: dict[Digest, list[Descriptor]] = {}
        self._referrers: Referrers = ChainMap(self._new_referrers, batch.referrers)  # type: ignore[arg-type]  # not written to
        self._left_out = set(batch.left_out)
        target = RepositoryTarget(context.catalog, self._base, batch.incomplete, source=context.reader)
        self._target = MeteredTarget(target, context.progress, self._parts)
        self._copier = GraphCopier(
            context.reader,
            self._target,
            concurrency=context.concurrency,
            parts=self._parts,
            may_lack=self._may_lack,
        )

    async def run(self) -> Outcome:
        """Copy all roots at once; the failure of a root is noted for its tags."""
        failed: dict[str, EntrepotError] = {}
        try:
            await each(self._roots, self._copy, failed)
        finally:
            await self._copier.close()
        for digest, error in failed.items():
            self._failed |= dict.fromkeys(self._roots[digest].tags, error)
        copied = [root for tag, root in self._pointing.items() if tag not in self._failed]
        staged = await asyncio.to_thread(self._collect_staged, copied)
        return Outcome(
            pointing=self._pointing,
            failed=self._failed,
            moved=self._moved,
            staged=staged,
            referrers=self._new_referrers,
            left_out=frozenset(self._left_out),
        )

    def _parts(self, manifest: Manifest) -> Iterable[Part]:
        return self._context.parts(manifest, self._left_out)

    def _may_lack(self, child: Descriptor, error: RemoteLeftOut) -> bool:
        if not self._context.copies_without(error):
            return False
        self._left_out.add(child.digest)
        return True

    async def _copy(self, digest: str) -> None:
        meter.set(Meter())
        root = self._roots[digest]
        try:
            copied = await self._copy_root(root)
        except RemoteNotFound as error:
            copied = await self._copy_moved(root, error)
        if copied:
            self._moved[copied[0]] = meter.get()
        self._context.progress.done += len(root.tags)

    async def _copy_root(self, root: Root) -> tuple[str, ...]:
        await self._copier.copy(root.descriptor)
        await self._copy_companions(root.descriptor)
        self._pointing |= dict.fromkeys(root.tags, root.descriptor)
        return root.tags

    async def _copy_moved(self, root: Root, error: RemoteNotFound) -> tuple[str, ...]:
        """Copy what the root's tags point to by now; a tag that still points to the root fails with the first error."""
        copied: tuple[str, ...] = ()
        for tag in root.tags:
            try:
                now = await self._context.reader.resolve_again(tag, root.descriptor)
                if now.digest == root.descriptor.digest:
                    self._failed[tag] = error
                else:
                    copied += await self._copy_root(Root(now, (tag,)))
            except RemoteNotFound as gone:
                self._failed[tag] = gone
        return copied

    async def _copy_companions(self, subject: Descriptor) -> None:
        """Copy what refers to a manifest that is copied, or to a child of it, and what refers to these again."""
        context, digest = self._context, subject.digest
        if not context.companions.patterns:
            return
        if digest not in self._referrers:
            self._new_referrers[digest] = await select_companions(context, digest)
        for referrer in list(self._referrers[digest]):
            try:
                await self._copier.copy(referrer)
            except (RemoteNotFound, RemoteUnauthorized, RemoteRefused) as error:
                reason = (
                    "does not have it" if isinstance(error, RemoteNotFound) else f"does not give it: {error.message}"
                )
                context.log.note(f"{referrer.digest} is listed as referring to {digest}, but upstream {reason}")
                self._new_referrers[digest] = [
                    other for other in self._referrers[digest] if other.digest != referrer.digest
                ]
        further = [*self._referrers[digest]]
        if subject.media_type in mediatypes.INDEXES:
            manifest = await asyncio.to_thread(context.catalog.manifests.read, digest, subject.media_type)
            children = (child for _role, child in context.children(manifest, self._left_out))
            further += [child for child in children if child.media_type in mediatypes.MANIFESTS]
        await asyncio.gather(*map(self._copy_companions, further))

    def _collect_staged(self, roots: Iterable[Descriptor]) -> dict[Digest, StagedManifest]:
        """Return the manifests that roots are made of, and what refers to them, as far as the base lacks them.

        Those that an earlier run has copied are read.
        """
        staged: dict[Digest, StagedManifest] = {}
        waiting = list(roots)
        while waiting:
            descriptor = waiting.pop()
            digest = descriptor.digest
            is_whole = digest in self._base.manifests and digest not in self._incomplete
            if digest in staged or is_whole or descriptor.media_type not in mediatypes.MANIFESTS:
                continue
            staged[digest] = self._target.staged.get(digest) or self._read_staged(descriptor)
            further = [*staged[digest].manifests, *self._referrers.get(digest, ())]
            self._context.sources.inherit(digest, (one.digest for one in further))
            waiting += further
        return staged

    def _read_staged(self, descriptor: Descriptor) -> StagedManifest:
        manifest = self._context.catalog.manifests.read(descriptor.digest, descriptor.media_type)
        return staged_manifest(manifest, lambda whole: self._context.children(whole, self._left_out))


async def measure_batch(context: SyncContext, batch: Batch) -> Outcome:
    """Measure what copying the batch would move, reading manifests only; what roots share is charged to the first."""
    assert batch.base is not None
    base = batch.base
    moved: dict[str, Meter] = {}
    failed: dict[str, EntrepotError] = {}
    seen: set[Digest] = set()
    left_out = set(batch.left_out)

    async def measure(descriptor: Descriptor, depth: int = 0) -> None:
        digest = descriptor.digest
        is_whole = digest in base.manifests and digest not in batch.incomplete
        if digest in seen or is_whole or digest in base.blobs:
            return
        seen.add(digest)
        if await asyncio.to_thread(_must_be_sent, context, base, digest):
            meter.get().items += 1
            meter.get().bytes += max(descriptor.size, 0)
        if descriptor.media_type in mediatypes.MANIFESTS:
            try:
                manifest = await context.reader.read_manifest(descriptor)
            except RemoteLeftOut as error:
                if not depth or not context.copies_without(error):
                    raise
                left_out.add(digest)
                return
            for _role, child in context.parts(manifest, left_out):
                if not mediatypes.is_nondistributable(child.media_type):
                    await measure(child, depth + 1)

    roots = {root.tags[0]: root for root in batch.roots}

    async def measure_root(tag: str) -> None:
        meter.set(Meter())
        await measure(roots[tag].descriptor)
        moved[tag] = meter.get()
        context.progress.done += len(roots[tag].tags)

    await each(roots, measure_root, failed)
    return Outcome(failed=failed, moved=moved, left_out=frozenset(left_out))


def _must_be_sent(context: SyncContext, base: Snapshot, digest: Digest) -> bool:
    """Return whether content has to be sent, as far as that is known without asking: what others hold does not count."""
    rights = context.catalog.rights
    return rights.usable_size(base, digest) is None and not rights.is_public(digest)
