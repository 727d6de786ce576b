"""The flow `sync-repository`: a sync as Prefect runs, shows and retries it."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.versions.snapshot import Snapshot
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, result_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.plan_items import PlanItem
from flows.runs.retries import RETRIED, RETRIES
from flows.runs.upstream_slots import upstream_slots
from flows.sync import steps, upstream_facts
from flows.sync.blend import source_of
from flows.sync.job import Batch, Committed, Outcome, SyncJob, TagsFailed
from flows.sync.plan import SyncPlan
from flows.sync.procedure import Steps, run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.upstream_reader import Upstream
from oci.errors import RemoteUnavailable

MAX_LOGGED = 20
"""How many failed tags of one batch go to the log; the result table has all."""

_T = TypeVar("_T")


@task(name="list-tags", **RETRIED)
async def list_tags(job: SyncJob, source: Upstream) -> Sequence[str]:
    """List every tag of an upstream."""
    tags = await steps.list_tags(job, source)
    get_run_logger().info("%s has %d tags", source.name, len(tags))
    return tags


@task(name="resolve-tags", **RETRIED)
async def resolve_batch(job: SyncJob, batch: Batch) -> Outcome:
    """Ask upstream where a batch of tags points."""
    return _or_retry(await _in_batch(steps.resolve_batch, job, batch), job)


@task(name="inspect-content", **RETRIED)
async def read_facts(job: SyncJob, batch: Batch) -> Outcome:
    """Find out what conditions look at in what a batch of tags points to."""
    return _or_retry(await _in_batch(upstream_facts.read_facts, job, batch), job)


@task(name="measure-content", **RETRIED)
async def measure_batch(job: SyncJob, batch: Batch) -> Outcome:
    """Find out what copying a batch would move."""
    return _or_retry(await _in_batch(steps.measure_batch, job, batch), job)


@task(name="copy-content", **RETRIED)
async def copy_batch(job: SyncJob, batch: Batch) -> Outcome:
    """Copy what a batch of tags points to."""
    outcome = _or_retry(await _in_batch(steps.copy_batch, job, batch), job)
    items = sum(charged.items for charged in outcome.moved.values())
    size = sum(charged.bytes for charged in outcome.moved.values())
    get_run_logger().info("copied %d items, %s", items, progress.format_bytes(size))
    return outcome


@task(name="commit-version", cache_policy=NO_CACHE)
async def commit_version(job: SyncJob, plan: SyncPlan, base: Snapshot) -> Committed:
    """Make the version in the catalogue."""
    committed = await steps.commit_version(job, plan, base)
    if committed is None:
        get_run_logger().info("%s has moved on from version %d; planning again", job.target, base.version)
    return committed


STEPS = Steps(
    list_tags=list_tags,
    resolve_batch=resolve_batch,
    read_facts=read_facts,
    measure_batch=measure_batch,
    copy_batch=copy_batch,
    commit_version=commit_version,
)


async def _in_batch(step: Callable[[SyncJob, Batch], Awaitable[Outcome]], job: SyncJob, batch: Batch) -> Outcome:
    """Run a step; a batch tried again counts its tags again."""
    done = job.progress.done
    try:
        return await step(job, batch)
    except BaseException:
        job.progress.done = done
        raise


def _or_retry(outcome: Outcome, job: SyncJob) -> Outcome:
    """Let Prefect try the batch again while that may mend a failed tag; on the last try its failures are the outcome."""
    log = get_run_logger()
    for tag, error in list(outcome.failed.items())[:MAX_LOGGED]:
        log.warning("%s: %s", tag, error.message)
    context = TaskRunContext.get()
    if outcome.retryable and context is not None and context.task_run.run_count <= RETRIES:
        job.charge(outcome)
        raise RemoteUnavailable(
            f"{len(outcome.failed)} of the batch's tags failed in a way that may pass",
            registry=job.request.reference.registry,
        )
    return outcome


@flow(name="sync-repository", flow_run_name="sync {request.remote}", persist_result=False, validate_parameters=True)
async def sync_repository(request: SyncRequest) -> "State[SyncResult]":
    """Copy an upstream repository's tags into one new version of a repository here.

    Run again after any failure: what is held already is not copied again, and a version is not made twice.
    """
    settings = read_settings()
    async with opened_catalog(settings) as catalog, Upstreams(settings, catalog.remotes) as upstreams:
        result = await _run(request, catalog, upstreams)
    return Completed(message=result.summary(), data=result)


async def _run(request: SyncRequest, catalog: Catalog, upstreams: Upstreams) -> SyncResult:
    log = get_run_logger()
    run_id = str(flow_run.id)
    job = SyncJob(
        request,
        catalog,
        await source_of(upstreams, request),
        operation_id=run_id,
        flow_run_id=run_id,
        clock=lambda: datetime.now(UTC),
        progress=progress.watched.get(),
    )
    job.progress.waits = upstreams.waiting
    log.info("%s sync of %s into %s", request.mode, request.reference, job.target)
    try:
        hosts = [one.reference.registry for one in request.each_alone()]
        async with upstream_slots(hosts), progress_artifact("sync", job.target, job.progress):
            result = (await run_sync(job, STEPS)).with_wait(upstreams.waited)
    except TagsFailed as error:
        items = [PlanItem(tag, "failed", reason=reason) for tag, reason in error.failed.items()]
        await result_artifact("sync", job.target, error.message.partition("\n")[0], items)
        raise
    for note in result.notes:
        log.warning(note)
    await result_artifact("sync", job.target, result.summary(), result.items)
    log.info(result.summary())
    return result
