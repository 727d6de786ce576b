"""The course of a sync: Selected, Resolved, Planned, Copied, Committed. Which step runs as what is the caller's choice.

Also what a sync would select, and why, without doing it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from catalog.catalog import Catalog
from catalog.filters.tags import Selection
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings
from catalog.versions.changes import CommitResult
from flows.runs.operation import MAX_PLANS
from flows.runs.work import beside
from flows.sync import copying, facts
from flows.sync.batches import BatchStep, Content
from flows.sync.committing import CommitVersion, commit, commit_version
from flows.sync.context import SyncContext
from flows.sync.copying import copy
from flows.sync.planning import Latest, SyncPlan, plan, read_latest
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.resolution import Resolved, check_selection, resolve_batch, resolve_selected
from flows.sync.selection import ListTags, list_source_tags, select_by_name, select_candidates
from flows.sync.sources import MultipleSources, Upstream
from flows.sync.verification import gates_of_sync, verify_copied
from oci.errors import Conflict


@dataclass(frozen=True, slots=True)
class SyncSteps:
    """The steps as they are to be run: plainly, or as tasks that are shown and retried."""

    list_tags: ListTags = list_source_tags
    resolve_batch: BatchStep = resolve_batch
    read_facts: BatchStep = facts.inspect_batch
    measure_batch: BatchStep = copying.measure_batch
    copy_batch: BatchStep = copying.copy_batch
    commit_version: CommitVersion = commit_version


PLAIN = SyncSteps()


async def run_sync(context: SyncContext, steps: SyncSteps = PLAIN) -> SyncResult:
    """Run a sync to its end and return its result.

    1. What this operation has committed in an earlier try is done. 2. Select by the names of tags. 3. Resolve by HEAD, and where
    content decides, select by content; the latest version is read meanwhile. 4. Plan on it. 5. Copy what is missing, and leave
    out what trust policies refuse. 6. Commit; when the repository has moved on, go on at 4: nothing is fetched twice.
    Raises TagsFailed, NothingSelected, Conflict (it never stops moving), and what the two ends raise.
    """
    started = time.monotonic()
    # 1
    result = None if context.is_first_try else await asyncio.to_thread(_find_earlier, context)
    if result is not None:
        return result
    gates_of_sync(context)  # a policy that is not here costs no request
    async with beside(asyncio.to_thread(read_latest, context)) as reading:
        # 2 and 3
        selected = await select_by_name(context, steps.list_tags)
        resolved = await resolve_selected(
            context, selected, resolve_batch=steps.resolve_batch, read_facts=steps.read_facts
        )
        check_selection(context, resolved)
        return await _make_version(context, resolved, await reading, steps, started)


async def _make_version(
    context: SyncContext, resolved: Resolved, latest: Latest, steps: SyncSteps, started: float
) -> SyncResult:
    request, content = context.request, Content()
    move, phase = (steps.measure_batch, "measuring") if request.dry_run else (steps.copy_batch, "copying")
    for tries_left in reversed(range(MAX_PLANS)):
        # 4
        planned = await plan(context, resolved, content, latest, resolve_batch=steps.resolve_batch)
        # 5
        copied = await copy(context, planned, phase=phase, copy_batch=move, resolve_batch=steps.resolve_batch)
        copied = await verify_copied(context, copied)
        resolved, content = copied.resolved, copied.content
        if request.dry_run:
            return SyncResult.of(context, resolved.selection, copied.plan, None, time.monotonic() - started)
        # 6
        committed = await commit(context, copied, commit_version=steps.commit_version, is_last_try=not tries_left)
        if committed.version is not None:
            seconds = time.monotonic() - started
            return SyncResult.of(context, resolved.selection, committed.copied.plan, committed.version, seconds)
    raise Conflict(f"{context.target} was changed by others during {MAX_PLANS} tries in a row; run the sync again")


def _find_earlier(context: SyncContext) -> SyncResult | None:
    """Return the result of an earlier try of this operation that has made its version."""
    version = context.catalog.history.find_operation(context.target, context.operation_id)
    if version is None:
        return None
    context.log.note("an earlier try of this flow run has made the version")
    snapshot = context.catalog.snapshots.get(context.target, version.number)
    committed = CommitResult(context.target, version.number, True, snapshot)
    return SyncResult.of(context, Selection(), SyncPlan(version.base, ()), committed, 0.0)


async def explain_sync(
    settings: Settings, catalog: Catalog | None, request: SyncRequest, *, now: datetime
) -> Selection:
    """Return which tags a sync would select and why.

    It costs one listing of each remote, and where content decides, reading that. Companions are not looked for. Without a
    catalogue there are no records of remotes, and content cannot decide.
    """
    async with Upstreams(settings, catalog.remotes if catalog else None) as upstreams:
        sources = await MultipleSources.connect(upstreams, request)
        if request.wanted.asks_content and catalog is not None:
            return await _explain_content(catalog, request, sources, now)
        each = [await select_candidates(one.request, partial(_list, one.source)) for one in sources.members]
        return sources.join(each).selection


async def _list(source: Upstream) -> Sequence[str]:
    return [tag async for tag in source.tags()]


async def _explain_content(
    catalog: Catalog, request: SyncRequest, sources: MultipleSources, now: datetime
) -> Selection:
    only_look = request.model_copy(update={"dry_run": True, "on_error": "skip"})
    context = SyncContext.of(only_look, catalog, sources, operation_id="explain", clock=lambda: now)
    selected = await select_by_name(context, PLAIN.list_tags)
    resolved = await resolve_selected(context, selected, resolve_batch=PLAIN.resolve_batch, read_facts=PLAIN.read_facts)
    return resolved.selection.with_dropped(
        {tag: f"cannot be read: {reason}" for tag, reason in resolved.failed.items()}
    )
