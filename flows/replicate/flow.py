"""The flow `replicate-registry`: what another installation serves, served here."""

from collections.abc import Sequence

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.distributions.replication import ReplicaPlan
from catalog.settings import read_settings
from flows.replicate import procedure
from flows.replicate.procedure import Outcomes, ReplicateJob, run_replication
from flows.replicate.request import Replica, ReplicateRequest, ReplicateResult
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.retries import RETRIED
from flows.runs.upstream_slots import HeldSlot
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob
from flows.sync_many.chunk_flow import shared_upstreams, sync_as_tasks
from flows.sync_many.fan_out import FanOut
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import DEFAULT_AT_ONCE
from oci.remote.discovery.discovery import Discovery


@task(name="discover-distributions", **RETRIED)
async def discover_distributions(job: ReplicateJob) -> Discovery:
    """Ask upstream for the paths that it serves."""
    return await procedure.discover_paths(job)


@task(name="switch-distributions", cache_policy=NO_CACHE)
async def switch_distributions(job: ReplicateJob, plan: ReplicaPlan) -> list[Replica]:
    """Serve the new versions, all from one moment on."""
    return await procedure.switch_paths(job, plan)


@flow(
    name="replicate-registry",
    flow_run_name="replicate {request.upstream}",
    persist_result=False,
    validate_parameters=True,
)
async def replicate_registry(request: ReplicateRequest) -> "State[ReplicateResult]":
    """Sync every path that another installation serves, over as many workers as there are; then serve all of them here at once.

    When one fails, everything is served as it was; run again, and what was copied is not copied again.
    """
    settings, shown = read_settings(), progress.watched.get() or Progress()
    shown.unit = "paths"
    async with (
        opened_catalog(settings) as catalog,
        shared_upstreams(settings, catalog) as upstreams,
        HeldSlot(request.host) as slot,
        progress_artifact("replicate", request.host, shown),
    ):
        job = ReplicateJob(request, catalog, upstreams, str(flow_run.id), progress=shown, say=get_run_logger().info)
        result = await run_replication(
            job,
            find=discover_distributions,
            sync=lambda job, syncs: _sync_over_workers(job, syncs, slot),
            serve=switch_distributions,
            hold=slot.hold,
        )
    await table_artifact("replicate", request.host, result.summary(), result.rows())
    return Completed(message=result.summary(), data=result)


async def _sync_over_workers(job: ReplicateJob, syncs: Sequence[SyncRequest], slot: HeldSlot) -> Outcomes:
    """Make versions that nobody is served yet, in flow runs of workers, or in this process where there is no worker.

    Chunks take slots of their own, so this run gives its slot back for as long as it waits for them.
    """
    chunk = ChunkJob(job.catalog, job.upstreams, job.run_id, job.progress, serve="nobody")

    async def here(some: Sequence[SyncRequest]) -> Sequence[RepositoryOutcome]:
        await slot.hold()
        return await sync_as_tasks(chunk, some, at_once=DEFAULT_AT_ONCE)

    fan_out = FanOut(job.catalog, here, job.progress, serve="nobody", say=job.say, on_spread=slot.release)
    done = await fan_out.run(syncs)
    job.chunks = done.chunks
    return done.outcomes
