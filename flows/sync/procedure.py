"""The course of a sync: list, select, resolve, plan, copy, commit. Which step runs as what is the caller's choice."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from catalog.filters.companions import is_companion_tag
from catalog.versions.changes import Commit, CommitResult
from catalog.versions.snapshot import Snapshot
from flows.runs.plan_items import COPIED
from flows.sync import steps as sync_steps
from flows.sync import upstream_facts
from flows.sync.blend import blended_of, members_of
from flows.sync.content_selection import select_by_content
from flows.sync.job import Batch, Committed, Outcome, SyncJob
from flows.sync.plan import SyncPlan, plan_sync
from flows.sync.report import SyncResult
from flows.sync.tag_selection import Choice, NothingSelected, choose_tags
from flows.sync.upstream_reader import Upstream
from oci.errors import Conflict, ManifestBlobUnknown, ManifestUnknown, QuotaExceeded, RemoteError, RemoteUnauthorized
from oci.remote.signatures.repository import SignedRepository

MAX_PLANS = 10
"""How often a sync plans anew because somebody else made a version meanwhile."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps as they are to be run: plainly, or as tasks that are shown and retried."""

    list_tags: Callable[[SyncJob, Upstream], Awaitable[Sequence[str]]] = sync_steps.list_tags
    resolve_batch: Callable[[SyncJob, Batch], Awaitable[Outcome]] = sync_steps.resolve_batch
    read_facts: Callable[[SyncJob, Batch], Awaitable[Outcome]] = upstream_facts.read_facts
    measure_batch: Callable[[SyncJob, Batch], Awaitable[Outcome]] = sync_steps.measure_batch
    copy_batch: Callable[[SyncJob, Batch], Awaitable[Outcome]] = sync_steps.copy_batch
    commit_version: Callable[[SyncJob, SyncPlan, Snapshot], Awaitable[Committed]] = sync_steps.commit_version


PLAIN = Steps()


async def run_sync(job: SyncJob, steps: Steps = PLAIN) -> SyncResult:
    """Run a sync to its end and say what came of it.

    1. What this operation has committed in an earlier try is done. 2. List and select. 3. Resolve by HEAD, and where content
    decides, select by what is found. 4. Plan on the latest version. 5. Copy what is missing. 6. Commit; when the repository
    has moved on, go on at 4: nothing is fetched twice.
    Raises TagsFailed, NothingSelected, Conflict (it never stops moving), and what the two ends raise.
    """
    started = time.monotonic()
    # 1
    done = await asyncio.to_thread(job.catalog.history.find_operation, job.target, job.operation_id)
    if done is not None:
        job.note("an earlier try of this flow run has made the version")
        snapshot = await asyncio.to_thread(job.catalog.snapshots.get, job.target, done.number)
        return SyncResult.of(job, SyncPlan(done.base, ()), CommitResult(job.target, done.number, True, snapshot), 0.0)
    # 2 and 3
    await select(job, steps)
    _check_named(job)
    _check_selected(job)
    for tries_left in reversed(range(MAX_PLANS)):
        # 4
        base = await asyncio.to_thread(job.catalog.snapshots.find, job.target) or Snapshot(job.target, 0)
        job.incomplete = await asyncio.to_thread(sync_steps.find_incomplete, job, base)
        if job.request.recheck and job.companions.patterns:
            job.incomplete |= await sync_steps.find_attached(job, base)
        await _add_companions(job, steps, base)
        _check_quota(job, base)
        # 5
        await _move(job, steps, base)
        while added := await _add_companions(job, steps, base):  # of children that were not known before
            await _move(job, steps, base, added)
        if job.left_out:  # what upstream was made without is not missing here
            job.incomplete &= await asyncio.to_thread(sync_steps.find_incomplete, job, base)
        plan = _plan(job, base)
        if job.request.dry_run:
            return SyncResult.of(job, plan, None, time.monotonic() - started)
        _note_refused(job)
        # 6
        job.progress.begin("committing", 0)
        committed = await steps.commit_version(job, plan, base)
        if committed is None and not tries_left:  # others are always quicker: they wait for this one plan
            plan, committed = await asyncio.to_thread(_commit_latest, job, plan)
        if committed is not None:
            return SyncResult.of(job, plan, committed, time.monotonic() - started)
    raise Conflict(f"{job.target} was changed by others during {MAX_PLANS} tries in a row; run the sync again")


def _commit_latest(job: SyncJob, plan: SyncPlan) -> tuple[SyncPlan, Committed]:
    """Plan on the latest version while nobody can make another; None when that lost what was not copied, since it was there."""
    planned = [plan]

    def plan_on(latest: Snapshot) -> Commit:
        planned.append(_plan(job, latest))
        return sync_steps.commit_of(job, planned[-1], latest)

    try:
        committed = job.catalog.commits.commit_latest(job.target, plan_on)
    except (Conflict, ManifestUnknown, ManifestBlobUnknown):
        committed = None
    return planned[-1], committed


def _note_refused(job: SyncJob) -> None:
    """Say what was found in the place of signatures and is none, and what else failed without being needed."""
    for member in members_of(job.request, job.upstream):
        if isinstance(member.source, SignedRepository):
            for text in member.source.refused:
                job.note(f"{member.name} has a signature that is none: {text}")
            for text in member.source.remarks:
                job.note(text)


async def _note_optional(job: SyncJob) -> None:
    """Among the tags that are selected, those are optional that hold companions by their names, and are not here yet."""
    named = [tag for tag in job.selection.kept if is_companion_tag(tag)]
    if named:
        base = await asyncio.to_thread(job.catalog.snapshots.find, job.target)
        job.optional.update(tag for tag in named if base is None or tag not in base.tags)


def _check_listings(job: SyncJob) -> None:
    """Remove nothing where a list of tags may have been cut: what it does not show may be there."""
    for member in members_of(job.request, job.upstream):
        if isinstance(member.source, SignedRepository) and member.source.listing_may_be_cut:
            job.is_cut_short, job.listed = True, None
            if job.request.mode == "mirror":
                job.note(f"the list of tags of {member.name} may be cut, so that nothing is removed")


async def _resolve(job: SyncJob, steps: Steps, tags: Sequence[str]) -> None:
    job.progress.begin("resolving", len(tags))
    for batch in job.tag_batches(tags):
        job.take(await steps.resolve_batch(job, batch))
    job.check_failures()


async def _inspect(job: SyncJob, steps: Steps, keys: Sequence[str]) -> None:
    if keys:
        job.progress.begin("inspecting", len(keys))
    for batch in job.batches_of(keys):
        job.take(await steps.read_facts(job, batch))
    job.check_failures()


def _check_selected(job: SyncJob) -> None:
    """Raise NothingSelected when upstream has tags and none is selected; that conditions fit nothing just now is no failure,
    unless a mirror would become empty."""
    dropped = job.selection.dropped
    if job.selection.rules or not dropped:
        return
    shown = "".join(f"\n  {tag}: {reason}" for tag, reason in list(dropped.items())[:5])
    message = f"none of the {len(dropped)} tags of {job.request.reference} is selected by the filters{shown}"
    if job.mode == "mirror" or not job.candidates:
        raise NothingSelected(message)
    job.note(message)


def _check_quota(job: SyncJob, base: Snapshot) -> None:
    """Raise QuotaExceeded before anything is copied that could not be committed, as far as the plan says; a dry run notes it."""
    plan = _plan(job, base)
    counts = plan.counts()
    is_growing = job.request.mode == "additive"  # a mirror may give back more than it takes
    size = sum(item.size for item in plan.of("added", "moved")) if is_growing else 0
    try:
        job.catalog.quotas.check_room(job.target, tags=counts["added"] - counts["removed"], size=size)
    except QuotaExceeded as error:
        if not job.request.dry_run:
            raise
        job.note(error.message)


def _check_named(job: SyncJob) -> None:
    """Say what upstream does not have of that which was named; raise NothingSelected when that is all."""
    gone = [tag for tag in job.selection.dropped if tag in job.gone]
    if gone and not job.selection.kept:
        raise NothingSelected(f"{job.request.reference} has nothing of what include names: {', '.join(gone[:20])}")
    if gone:
        job.note(f"upstream does not have {', '.join(gone[:20])}, which include names")


async def _add_companions(job: SyncJob, steps: Steps, base: Snapshot) -> Sequence[str]:
    """Select the tags that hold companions of what is selected, and say which they are.

    Where upstream's tags were listed it costs a HEAD for each that is there; else one for each that may be, of new images only.
    """
    added: list[str] = []
    while candidates := await asyncio.to_thread(sync_steps.companion_tags, job, base):
        job.may_lack.update(candidates)
        job.optional.update(tag for tag in candidates if tag not in base.tags)
        job.selection = job.selection.with_kept(candidates)
        await _resolve(job, steps, list(candidates))
        added += [tag for tag in candidates if tag in job.found]
        job.selection = job.selection.without([tag for tag in candidates if tag not in job.found])
    return added


async def select(job: SyncJob, steps: Steps) -> None:
    """Choose tags, and find out where they point."""
    blended = blended_of(job)
    choices: list[Choice] = []
    for member in members_of(job.request, job.upstream):
        try:
            choices.append(await choose_tags(member.request, partial(_list, job, steps, member.source)))
        except RemoteError as error:
            if not choices or job.request.on_error == "fail" or isinstance(error, RemoteUnauthorized):
                raise
            job.is_cut_short = True
            job.note(
                f"{error.message}; what {member.name} and the remotes after it have stays as it is, and nothing is removed"
            )
            break
    choice = blended.take(choices) if blended else choices[0]
    job.selection, job.listed = choice.selection, choice.listed
    _check_listings(job)
    await _note_optional(job)
    job.candidates = frozenset(choice.selection.kept)
    job.may_lack.update(choice.may_lack)
    if job.wanted.asks_content:
        await select_by_content(job, partial(_resolve, job, steps), partial(_inspect, job, steps))
    else:
        await _resolve(job, steps, job.selection.kept)


async def _list(job: SyncJob, steps: Steps, source: Upstream) -> Sequence[str]:
    job.progress.begin("listing", 0)
    return await steps.list_tags(job, source)


def _plan(job: SyncJob, base: Snapshot) -> SyncPlan:
    plan = plan_sync(
        base,
        job.found,
        mode=job.mode,
        failed=job.failed,
        dropped=job.selection.dropped,
        incomplete=job.incomplete,
    )
    blended = blended_of(job)
    if blended is None:
        return plan
    origins = {tag: blended.members[number].name for tag, number in blended.tagged.items()}
    return plan.told(origins)


async def _move(job: SyncJob, steps: Steps, base: Snapshot, tags: Sequence[str] | None = None) -> None:
    """Copy what is new on this base, or only measure it; with `tags`, for these only."""
    plan = _plan(job, base)
    step, phase = (steps.measure_batch, "measuring") if job.request.dry_run else (steps.copy_batch, "copying")
    job.progress.begin(phase, sum(1 for item in plan.of(*COPIED) if tags is None or item.tag in tags))
    for batch in job.root_batches(base, plan, tags):
        job.take(await step(job, batch))
    job.check_failures()
