"""The flow `sync-chunk`: the repositories of one chunk, in a process of a worker, or within the run that has split them off."""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.remotes.options import HEADS_PER_TRANSFER
from catalog.settings import Settings, read_settings
from flows.runs import progress
from flows.runs.artifacts import artifact_key, progress_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.upstream_slots import upstream_slots
from flows.runs.work import Work, as_step
from flows.sync.request import SyncRequest
from flows.sync_many import chunk
from flows.sync_many.chunk import ChunkJob, sync_repositories
from flows.sync_many.chunk_watch import ChunkWatch, StopKind, StopReason
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import SyncChunkRequest
from oci.errors import EntrepotError


@task(name="sync-one", task_run_name="sync {work.value.target}", cache_policy=NO_CACHE)
async def _sync_one(work: Work[ChunkJob, SyncRequest]) -> RepositoryOutcome:
    """Sync one repository of the chunk."""
    outcome = await chunk.sync_one(work.context, work.value)
    get_run_logger().info(outcome.note or outcome.error)
    return outcome


@asynccontextmanager
async def shared_upstreams(settings: Settings, catalog: Catalog) -> AsyncIterator[Upstreams]:
    """Open connections for many syncs that ask a registry for no more at a time than one sync does."""
    concurrency = HEADS_PER_TRANSFER * settings.copy_concurrency
    async with Upstreams(settings, catalog.remotes, concurrency=concurrency) as upstreams:
        yield upstreams


MAX_TASKS = 200
"""So many repositories are shown as tasks, each; of more, Prefect's SQLite is busy with nothing else, and refuses slots (503)."""


async def _sync_quietly(job: ChunkJob, request: SyncRequest) -> RepositoryOutcome:
    """Sync one repository of very many: only what is wrong is logged."""
    try:
        return await chunk.sync_one(job, request)
    except EntrepotError as error:
        get_run_logger().warning(f"{request.target}: {error.message}")
        raise


async def sync_as_tasks(job: ChunkJob, syncs: Sequence[SyncRequest], *, at_once: int) -> list[RepositoryOutcome]:
    """Sync repositories in this process, each as a task unless there are very many."""
    step = as_step(_sync_one) if len(syncs) <= MAX_TASKS else _sync_quietly
    return await sync_repositories(job, syncs, at_once=at_once, sync=step)


async def sync_with_slots(job: ChunkJob, syncs: Sequence[SyncRequest], *, at_once: int) -> list[RepositoryOutcome]:
    """Sync repositories in this process, each as a task, with one slot of each upstream's limit for all."""
    async with upstream_slots(hosts_of(syncs)):
        return await sync_as_tasks(job, syncs, at_once=at_once)


def hosts_of(syncs: Iterable[SyncRequest]) -> set[str]:
    """Return the registries that syncs talk to."""
    return {one.reference.registry for request in syncs for one in request.each_alone()}


@flow(name="sync-chunk", flow_run_name="sync chunk {request.name}", persist_result=False, validate_parameters=True)
async def sync_chunk(request: SyncChunkRequest) -> "State[list[RepositoryOutcome]]":
    """Sync the repositories of one chunk, each of which may fail by itself, and leave the table of what became of them.

    Run again, it makes no version twice; the run that has started it reads the table.
    """
    settings = read_settings()
    shown = progress.watched.get() or Progress()
    shown.unit = "repositories"
    shown.begin("syncing", len(request.syncs))
    async with (
        opened_catalog(settings) as catalog,
        shared_upstreams(settings, catalog) as upstreams,
        progress_artifact("sync-chunk", str(request.number), shown),  # its updates say that this process lives
    ):
        job = ChunkJob(catalog, upstreams, request.operation or str(flow_run.id), shown, serve=request.serve)
        work = sync_with_slots(job, request.syncs, at_once=request.at_once)
        outcomes = await ChunkWatch(str(flow_run.id), _parent_of(request)).run(work)
    if isinstance(outcomes, StopReason):
        return await _stop(outcomes)
    await _leave_table(request.number, outcomes)
    failed = sum(one.outcome == "failed" for one in outcomes)
    return Completed(message=f"{len(outcomes) - failed} repositories done, {failed} failed", data=outcomes)


def _parent_of(request: SyncChunkRequest) -> str:
    """Return the id of the run that has started this one; empty where somebody did so by hand."""
    return request.operation if flow_run.parent_flow_run_id else ""


async def _stop(reason: StopReason) -> "State[list[RepositoryOutcome]]":
    """End this run as cancelled, or leave it to the process that has it now: then Prefect hears nothing of this one's end."""
    get_run_logger().warning(reason.text)
    if reason.kind is StopKind.LEAVE:
        os._exit(0)
    return Cancelled(message=reason.text)


async def _leave_table(number: int, outcomes: Iterable[RepositoryOutcome]) -> None:
    """Leave the table of outcomes; a run that cannot leave it fails, for nobody would know what it has done."""
    rows = [one.to_cells() for one in outcomes]
    await acreate_table_artifact(rows, key=artifact_key("sync-chunk", str(number)))
