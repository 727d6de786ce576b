"""The flow `sync-many`: many repositories, over as many workers as there are."""

import time
from collections.abc import Sequence

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.upstream_slots import upstream_slot
from flows.runs.work import Work, as_step
from flows.sync.request import SyncRequest
from flows.sync_many import patterns
from flows.sync_many.chunk import ChunkJob
from flows.sync_many.in_process import shared_upstreams, sync_with_slots
from flows.sync_many.patterns import SelectedSyncs, select_syncs
from flows.sync_many.report import RepositoryOutcome, SyncManyResult, SyncsFailed
from flows.sync_many.request import SyncManyRequest
from flows.sync_many.spread import spread_syncs
from oci.remote.address import Remote
from oci.remote.discovery.discovery import Discovery


@task(name="list-repositories", is_retried=True)
async def _list_paths(work: Work[Upstreams, Remote]) -> Discovery:
    """Ask a registry for the paths that it serves."""
    async with upstream_slot(work.value.host):
        return await patterns.list_paths(work.context, work.value)


@flow(name="sync-many", flow_run_name="sync {request.name}")
async def sync_many(request: SyncManyRequest) -> FlowEnd[SyncManyResult]:
    """Sync many repositories, in chunks that workers run at once; the failure of one is that of no other.

    Run again after any failure: what has been done is not done again. It fails in the end when a repository has.
    """
    settings, started = read_settings(), time.monotonic()
    async with opened_catalog(settings) as catalog, shared_upstreams(settings, catalog) as upstreams:
        selected = await _select(request, upstreams)
        outcomes, chunks = await _sync(request, catalog, upstreams, selected.syncs)
    result = SyncManyResult(
        outcomes=(*outcomes, *selected.failed),
        chunks=chunks,
        dry_run=request.dry_run,
        seconds=time.monotonic() - started,
        flow_run_id=recorded_run_id(),
        notes=(*selected.notes, *(f"{one.repository}: {note}" for one in outcomes for note in one.notes)),
    )
    await table_artifact("sync-many", request.name, result.summary(), result.rows())
    for note in result.notes:
        run_logger().warning(note)
    if result.failed:
        raise SyncsFailed(result, registry=request.items()[0].registry.host)
    return completed(result.summary(), result)


async def _select(request: SyncManyRequest, upstreams: Upstreams) -> SelectedSyncs:
    listing = as_step(_list_paths)
    return await select_syncs(
        request.items(),
        exclude=request.exclude_paths,
        dry_run=request.dry_run,
        list_paths=lambda registry: listing(upstreams, registry),
    )


async def _sync(
    request: SyncManyRequest, catalog: Catalog, upstreams: Upstreams, syncs: Sequence[SyncRequest]
) -> tuple[list[RepositoryOutcome], int]:
    shown = progress.watched.get() or Progress()
    shown.unit = "repositories"
    shown.begin("syncing", len(syncs))
    job = ChunkJob(catalog, upstreams, run_id(), shown, flow_run_id=recorded_run_id())
    async with progress_artifact(shown):
        done = await spread_syncs(
            catalog,
            syncs,
            lambda some: sync_with_slots(job, some, at_once=request.at_once),
            shown,
            at_once=request.at_once,
            chunks=request.chunks,
            say=run_logger().info,
        )
    return [done.outcomes[one.target] for one in syncs], done.chunks
