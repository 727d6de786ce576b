"""The flow `sync-chunk`: the repositories of one chunk, in a process of a worker, which runs them by Prefect's engine."""

import os
from collections.abc import Iterable
from typing import cast

from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run
from prefect.states import Cancelled

from catalog.settings import read_settings
from flows.console.home_id import home_id
from flows.engine.current import run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.runs import progress
from flows.runs.artifacts import artifact_key, progress_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.sync_many.chunk import ChunkJob
from flows.sync_many.chunk_runs import CHUNK_TABLE
from flows.sync_many.chunk_watch import ChunkWatch, StopKind, StopReason
from flows.sync_many.in_process import shared_upstreams, sync_with_slots
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import SyncChunkRequest


@flow(name="sync-chunk", flow_run_name="sync chunk {request.name}")
async def sync_chunk(request: SyncChunkRequest) -> FlowEnd[list[RepositoryOutcome]]:
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
        progress_artifact(shown),  # its updates say that this process lives
    ):
        job = ChunkJob(catalog, upstreams, request.operation or run_id(), shown, serve=request.serve)
        work = sync_with_slots(job, request.syncs, at_once=request.at_once)
        outcomes = await ChunkWatch(run_id(), _parent_of(request)).run(work)
    if isinstance(outcomes, StopReason):
        return await _stop(outcomes)
    await _leave_table(request.number, outcomes)
    failed = sum(one.outcome == "failed" for one in outcomes)
    return completed(f"{len(outcomes) - failed} repositories done, {failed} failed", outcomes)


def _parent_of(request: SyncChunkRequest) -> str:
    """Return the id of the run that has started this one; empty where somebody did so by hand."""
    return request.operation if flow_run.parent_flow_run_id else ""


async def _stop(reason: StopReason) -> FlowEnd[list[RepositoryOutcome]]:
    """End this run as cancelled, or leave it to the process that has it now: then Prefect hears nothing of this one's end."""
    run_logger().warning(reason.text)
    if reason.kind is StopKind.LEAVE:
        os._exit(0)
    return cast("FlowEnd[list[RepositoryOutcome]]", Cancelled(message=reason.text))


async def _leave_table(number: int, outcomes: Iterable[RepositoryOutcome]) -> None:
    """Leave the table of outcomes; a run that cannot leave it fails, for nobody would know what it has done."""
    rows = [one.to_cells() for one in outcomes]
    await acreate_table_artifact(rows, key=artifact_key(CHUNK_TABLE, str(number), home_id(read_settings())))
