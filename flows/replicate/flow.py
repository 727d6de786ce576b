"""The flow `replicate-registry`: what another installation serves, served here."""

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.distributions.replication import ReplicaPlan
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.replicate import procedure
from flows.replicate.procedure import ReplicateJob, run_replication
from flows.replicate.request import Replica, ReplicateRequest, ReplicateResult
from flows.runs import progress
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.retries import RETRIED
from flows.runs.upstream_slots import upstream_slot
from flows.sync.flow import STEPS
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
    """Sync every path that another installation serves, then serve all of them here at once.

    When one fails, everything is served as it was; run again, and what was copied is not copied again.
    """
    settings = read_settings()
    async with (
        opened_catalog(settings) as catalog,
        Upstreams(settings, catalog.remotes) as upstreams,
        upstream_slot(request.host),
    ):
        job = ReplicateJob(
            request,
            catalog,
            upstreams,
            str(flow_run.id),
            steps=STEPS,
            progress=progress.watched.get(),
            say=get_run_logger().info,
        )
        result = await run_replication(job, find=discover_distributions, serve=switch_distributions)
    await table_artifact("replicate", request.host, result.summary(), [one.to_json() for one in result.replicas])
    return Completed(message=result.summary(), data=result)
