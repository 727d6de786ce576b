"""The flows `migrate-harbor`, `migrate-pulp` and `migrate-quay`: repositories, with what their projects say of them."""

from collections.abc import Mapping, Sequence

from catalog.settings import read_settings
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.migrate import registry_procedure
from flows.migrate.comparison import Compared
from flows.migrate.registry_comparison import compare_registry
from flows.migrate.registry_job import Outcomes, RegistryJob, RegistryPlan
from flows.migrate.registry_procedure import run_registry_migration
from flows.migrate.registry_request import (
    HarborMigrationRequest,
    PulpMigrationRequest,
    QuayMigrationRequest,
    RegistryMigrationRequest,
)
from flows.migrate.report import MigrationIncomplete, MigrationResult
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.upstream_slots import upstream_slot
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob
from flows.sync_many.in_process import shared_upstreams, sync_with_slots
from flows.sync_many.spread import spread_syncs
from oci.remote.discovery.inventory import Inventory


@task(name="discover-source", is_retried=True)
async def _discover(job: RegistryJob) -> Inventory:
    """Ask the registry's management API what it holds."""
    async with upstream_slot(job.request.host):
        found = await registry_procedure.discover_source(job)
    run_logger().info("%s has %d repositories", job.request.host, len(found.served))
    return found


@task(name="settle-paths")
async def _settle(job: RegistryJob, plan: RegistryPlan, targets: Sequence[str]) -> None:
    """Serve what was copied, and write the rules that were taken along."""
    await registry_procedure.settle_paths(job, plan, targets)


@task(name="compare-tags-of-source", is_retried=True)
async def _compare(job: RegistryJob, plan: RegistryPlan, outcomes: Outcomes) -> Mapping[str, Compared | str]:
    """Compare the source's tags with what is served."""
    async with upstream_slot(job.request.host):
        return await compare_registry(job, plan, outcomes)


async def _sync(job: RegistryJob, syncs: Sequence[SyncRequest]) -> Outcomes:
    """Make versions that nobody is served yet, in flow runs of workers, or in this process where there is no worker."""
    chunk = ChunkJob(job.catalog, job.upstreams, job.run_id, job.progress, serve="nobody", flow_run_id=job.flow_run_id)
    at_once = job.request.at_once
    done = await spread_syncs(
        job.catalog,
        syncs,
        lambda some: sync_with_slots(chunk, some, at_once=at_once),
        job.progress,
        serve="nobody",
        at_once=at_once,
        say=run_logger().info,
    )
    job.chunks = done.chunks
    return done.outcomes


async def _migrate(request: RegistryMigrationRequest) -> FlowEnd[MigrationResult]:
    """Copy the repositories of another product's registry, serve them as it does, and compare both ends.

    Run again after any failure, or to catch up: what is here is not copied again. It fails when a repository has, or differs.
    """
    settings, shown = read_settings(), progress.watched.get() or Progress()
    shown.unit = "repositories"
    async with (
        opened_catalog(settings) as catalog,
        shared_upstreams(settings, catalog) as upstreams,
        progress_artifact(shown),
    ):
        job = RegistryJob(request, catalog, upstreams, run_id(), shown, flow_run_id=recorded_run_id())
        result = await run_registry_migration(job, find=_discover, sync=_sync, settle=_settle, compare=_compare)
    await table_artifact("migrate", request.host, result.summary(), result.rows())
    for note in (*result.notes, *result.not_taken):
        run_logger().warning(note)
    if result.failed and not result.dry_run:
        raise MigrationIncomplete(result)
    return completed(result.summary(), result)


@flow(name="migrate-harbor", flow_run_name="migrate {request.url}")
async def migrate_harbor(request: HarborMigrationRequest) -> FlowEnd[MigrationResult]:
    """Copy the repositories of a Harbor, serve them as it does, and compare both ends."""
    return await _migrate(request)


@flow(name="migrate-pulp", flow_run_name="migrate {request.url}")
async def migrate_pulp(request: PulpMigrationRequest) -> FlowEnd[MigrationResult]:
    """Copy the content of a Pulp, serve it as it does, and compare both ends."""
    return await _migrate(request)


@flow(name="migrate-quay", flow_run_name="migrate {request.url}")
async def migrate_quay(request: QuayMigrationRequest) -> FlowEnd[MigrationResult]:
    """Copy the repositories of a Quay, serve them as it does, and compare both ends."""
    return await _migrate(request)
