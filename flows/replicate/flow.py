"""The flow `replicate-registry`: what another installation serves, served here."""

from collections.abc import Sequence

from catalog.distributions.replication import ReplicaPlan
from catalog.settings import read_settings
from flows.console.events import PATH_CHANGES
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.events import tell_of_paths
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.replicate import procedure
from flows.replicate.procedure import Outcomes, ReplicateJob, run_replication
from flows.replicate.report import replicate_report
from flows.replicate.request import Replica, ReplicateRequest, ReplicateResult
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, report_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.upstream_slots import HeldSlot
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob
from flows.sync_many.in_process import shared_upstreams, sync_as_tasks
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import DEFAULT_AT_ONCE
from flows.sync_many.spread import spread_syncs
from oci.remote.discovery.discovery import Discovery


@task(name="discover-distributions", is_retried=True)
async def discover_distributions(job: ReplicateJob) -> Discovery:
    """Ask upstream for the paths that it serves."""
    return await procedure.discover_paths(job)


@task(name="switch-distributions")
async def switch_distributions(job: ReplicateJob, plan: ReplicaPlan) -> list[Replica]:
    """Serve the new versions, all from one moment on."""
    replicas = await procedure.switch_paths(job, plan)
    tell_of_paths(
        job.catalog.settings,
        [(one.path, one.action, one.version) for one in replicas if one.action in PATH_CHANGES],
        run_id=job.run_id,
        host=job.request.host,
    )
    return replicas


@flow(
    name="replicate-registry",
    flow_run_name="replicate {request.upstream}",
)
async def replicate_registry(request: ReplicateRequest) -> FlowEnd[ReplicateResult]:
    """Sync every path that another installation serves, over as many workers as there are; then serve all of them here at once.

    When one fails, everything is served as it was; run again, and what was copied is not copied again.
    """
    settings, shown = read_settings(), progress.watched.get() or Progress()
    shown.unit = "paths"
    async with (
        opened_catalog(settings) as catalog,
        shared_upstreams(settings, catalog) as upstreams,
        HeldSlot(request.host) as slot,
        progress_artifact(shown),
    ):
        job = ReplicateJob(
            request,
            catalog,
            upstreams,
            run_id(),
            flow_run_id=recorded_run_id(),
            progress=shown,
            say=run_logger().info,
        )
        result = await run_replication(
            job,
            find=discover_distributions,
            sync=lambda job, syncs: _sync_over_workers(job, syncs, slot),
            serve=switch_distributions,
            hold=slot.hold,
        )
    await report_artifact("replicate", request.host, result.summary(), replicate_report(settings, result))
    return completed(result.summary(), result)


async def _sync_over_workers(job: ReplicateJob, syncs: Sequence[SyncRequest], slot: HeldSlot) -> Outcomes:
    """Make versions that nobody is served yet, in flow runs of workers, or in this process where there is no worker.

    Chunks take slots of their own, so this run gives its slot back for as long as it waits for them.
    """
    chunk = ChunkJob(job.catalog, job.upstreams, job.run_id, job.progress, serve="nobody", flow_run_id=job.flow_run_id)

    async def here(some: Sequence[SyncRequest]) -> Sequence[RepositoryOutcome]:
        await slot.hold()
        return await sync_as_tasks(chunk, some, at_once=DEFAULT_AT_ONCE)

    done = await spread_syncs(
        job.catalog, syncs, here, job.progress, serve="nobody", say=job.say, on_spread=slot.release
    )
    job.chunks = done.chunks
    return done.outcomes
