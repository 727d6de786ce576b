"""The flow `sync-repository`: a sync as Prefect runs, shows and retries it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.units import format_size
from catalog.versions.changes import CommitResult
from catalog.work_roots import with_logins
from flows.engine.current import recorded_run_id, run_id, run_logger, try_number
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.retries import RETRIES
from flows.engine.tasks import task
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, result_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.plan_items import PlanItem
from flows.runs.upstream_slots import upstream_slots
from flows.runs.work import Work, as_step
from flows.sync import committing, copying, facts, resolution, selection
from flows.sync.batches import Batch, BatchStep, Outcome
from flows.sync.context import SyncContext
from flows.sync.copying import Copied
from flows.sync.procedure import SyncSteps, run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.resolution import TagsFailed
from flows.sync.sources import MultipleSources, Upstream
from oci.errors import RemoteUnavailable

MAX_LOGGED = 20
"""How many failed tags of one batch go to the log; the result table has all."""


@task(name="list-tags", is_retried=True)
async def _list_tags(work: Work[SyncContext, Upstream]) -> Sequence[str]:
    """List every tag of an upstream."""
    tags = await selection.list_source_tags(work.context, work.value)
    run_logger().info("%s has %d tags", work.value.name, len(tags))
    return tags


@task(name="resolve-tags", is_retried=True)
async def _resolve_batch(work: Work[SyncContext, Batch]) -> Outcome:
    """Ask upstream where a batch of tags points."""
    return await _run_batch(resolution.resolve_batch, work)


@task(name="inspect-content", is_retried=True)
async def _read_facts(work: Work[SyncContext, Batch]) -> Outcome:
    """Read what the conditions of the filter look at."""
    return await _run_batch(facts.inspect_batch, work)


@task(name="measure-content", is_retried=True)
async def _measure_batch(work: Work[SyncContext, Batch]) -> Outcome:
    """Measure what copying a batch would move."""
    return await _run_batch(copying.measure_batch, work)


@task(name="copy-content", is_retried=True)
async def _copy_batch(work: Work[SyncContext, Batch]) -> Outcome:
    """Copy what a batch of tags points to."""
    outcome = await _run_batch(copying.copy_batch, work)
    items = sum(meter.items for meter in outcome.moved.values())
    size = sum(meter.bytes for meter in outcome.moved.values())
    run_logger().info("copied %d items, %s", items, format_size(size))
    return outcome


@task(name="commit-version")
async def _commit_version(work: Work[SyncContext, Copied]) -> CommitResult | None:
    """Make the version in the catalogue."""
    committed = await committing.commit_version(work.context, work.value)
    if committed is None:
        base = work.value.planned.base.version
        run_logger().info("%s has moved on from version %d; planning again", work.context.target, base)
    return committed


STEPS = SyncSteps(
    list_tags=as_step(_list_tags),
    resolve_batch=as_step(_resolve_batch),
    read_facts=as_step(_read_facts),
    measure_batch=as_step(_measure_batch),
    copy_batch=as_step(_copy_batch),
    commit_version=as_step(_commit_version),
)


async def _run_batch(step: BatchStep, work: Work[SyncContext, Batch]) -> Outcome:
    """Run a step; raise RemoteUnavailable while another try may mend a failed tag. On the last try, failures are the outcome.

    A batch that is tried again counts its tags again.
    """
    context = work.context
    done = context.progress.done
    try:
        outcome = await step(context, work.value)
    except BaseException:
        context.progress.done = done
        raise
    log = run_logger()
    for tag, error in list(outcome.failed.items())[:MAX_LOGGED]:
        log.warning("%s: %s", tag, error.message)
    if outcome.retryable and try_number() <= RETRIES:
        context.log.charge(outcome.moved)
        raise RemoteUnavailable(
            f"{len(outcome.failed)} of the batch's tags failed in a way that may pass",
            registry=context.request.reference.registry,
        )
    return outcome


@flow(name="sync-repository", flow_run_name="sync {request.remote}")
async def sync_repository(request: SyncRequest) -> FlowEnd[SyncResult]:
    """Copy an upstream repository's tags into one new version of a repository here.

    Run again after any failure: what is held already is not copied again, and a version is not made twice.
    """
    settings = with_logins(read_settings(), request.logins)
    async with opened_catalog(settings) as catalog, Upstreams(settings, catalog.remotes) as upstreams:
        result = await _run(request, catalog, upstreams)
    return completed(result.summary(), result)


async def _run(request: SyncRequest, catalog: Catalog, upstreams: Upstreams) -> SyncResult:
    log = run_logger()
    log.info("%s sync of %s into %s", request.mode, request.reference, request.target)
    hosts = [one.reference.registry for one in request.each_alone()]
    context = _make_context(request, catalog, upstreams, await MultipleSources.connect(upstreams, request))
    try:
        async with upstream_slots(hosts), progress_artifact(context.progress):
            result = (await run_sync(context, STEPS)).with_wait(upstreams.waited)
            showing = asyncio.create_task(result_artifact("sync", context.target, result.summary(), result.items))
    except TagsFailed as error:
        items = [PlanItem(tag, "failed", reason=reason) for tag, reason in error.failed.items()]
        await result_artifact("sync", context.target, error.message.partition("\n")[0], items)
        raise
    for note in result.notes:
        log.warning(note)
    log.info(result.summary())
    await showing
    return result


def _make_context(
    request: SyncRequest, catalog: Catalog, upstreams: Upstreams, sources: MultipleSources
) -> SyncContext:
    context = SyncContext.of(
        request,
        catalog,
        sources,
        operation_id=run_id(),
        flow_run_id=recorded_run_id(),
        clock=lambda: datetime.now(UTC),
        progress=progress.watched.get(),
    )
    context.progress.waits = upstreams.waiting
    return context
