"""Many syncs in this process, with the connections and the slots that they share."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.remotes.options import HEADS_PER_TRANSFER
from catalog.settings import Settings
from flows.engine.current import run_logger
from flows.engine.tasks import task
from flows.runs.artifacts import result_artifact
from flows.runs.upstream_slots import upstream_slots
from flows.runs.work import Work, as_step
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync_many import chunk
from flows.sync_many.chunk import ChunkJob, sync_repositories
from flows.sync_many.report import RepositoryOutcome
from oci.errors import EntrepotError


@task(name="sync-one", task_run_name="sync {work.value.target}")
async def _sync_one(work: Work[ChunkJob, SyncRequest]) -> RepositoryOutcome:
    """Sync one repository of the chunk."""
    outcome = await chunk.sync_one(work.context, work.value, show=_show_result)
    run_logger().info(outcome.note or outcome.error)
    return outcome


async def _show_result(result: SyncResult) -> None:
    """Leave the table of one mirror, which is part of that mirror's history, where something has changed."""
    if result.changed or result.failed:
        await result_artifact("sync", result.repository, result.summary(), result.items)


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
        run_logger().warning(f"{request.target}: {error.message}")
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
