"""The flow `sync-chunk`: the repositories of one chunk, in a process of a worker, or within the run that has split them off."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from prefect import flow, get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.remotes.options import HEADS_PER_TRANSFER
from catalog.settings import Settings, read_settings
from flows.runs import progress
from flows.runs.artifacts import artifact_key
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.upstream_slots import upstream_slots
from flows.runs.work import Work, as_step
from flows.sync.request import SyncRequest
from flows.sync_many import chunk
from flows.sync_many.chunk import ChunkJob, sync_repositories
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import SyncChunkRequest


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


async def sync_with_tasks(job: ChunkJob, syncs: Sequence[SyncRequest], *, at_once: int) -> list[RepositoryOutcome]:
    """Sync repositories in this process, each as a task, with one slot of each upstream's limit for all."""
    async with upstream_slots(hosts_of(syncs)):
        return await sync_repositories(job, syncs, at_once=at_once, sync=as_step(_sync_one))


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
    async with opened_catalog(settings) as catalog, shared_upstreams(settings, catalog) as upstreams:
        job = ChunkJob(catalog, upstreams, request.operation or str(flow_run.id), shown, serve=request.serve)
        outcomes = await sync_with_tasks(job, request.syncs, at_once=request.at_once)
    await _leave_table(request.number, outcomes)
    failed = sum(one.outcome == "failed" for one in outcomes)
    return Completed(message=f"{len(outcomes) - failed} repositories done, {failed} failed", data=outcomes)


async def _leave_table(number: int, outcomes: Iterable[RepositoryOutcome]) -> None:
    """Leave the table of outcomes; a run that cannot leave it fails, for nobody would know what it has done."""
    rows = [one.to_json() for one in outcomes]
    await acreate_table_artifact(rows, key=artifact_key("sync-chunk", str(number)))
