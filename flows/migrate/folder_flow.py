"""The flow `migrate-folder`: repositories out of a folder that another registry or tool has left."""

from collections.abc import Mapping, Sequence

from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.work_roots import allowed_path
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.migrate import folder_procedure
from flows.migrate.comparison import Compared
from flows.migrate.folder_procedure import FolderJob, migrate_one, run_folder_migration
from flows.migrate.folder_request import FolderMigrationRequest
from flows.migrate.report import MigrationIncomplete, MigrationResult, PlannedRepository
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.runs.work import Work, as_step
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob, sync_repositories
from flows.sync_many.in_process import MAX_TASKS
from flows.sync_many.report import RepositoryOutcome


@task(name="plan-folder")
async def _plan(job: FolderJob) -> Sequence[PlannedRepository]:
    """Read what the folder has, without the bytes of blobs."""
    planned = await folder_procedure.plan_folder(job)
    run_logger().info("%d repositories, %d broken parts", len(planned), sum(one.fault_count for one in planned))
    return planned


@task(name="migrate-one", task_run_name="migrate {work.value.target}")
async def _migrate_one(work: Work[ChunkJob, SyncRequest]) -> RepositoryOutcome:
    """Copy one repository."""
    outcome = await migrate_one(work.context, work.value)
    run_logger().info(outcome.note or outcome.error)
    return outcome


@task(name="compare-served")
async def _compare(job: FolderJob, outcomes: Sequence[RepositoryOutcome]) -> Mapping[str, Compared]:
    """Compare tags and digests of the folder with what is served."""
    return await folder_procedure.compare_folder(job, outcomes)


async def _sync(job: FolderJob, syncs: Sequence[SyncRequest]) -> Sequence[RepositoryOutcome]:
    step = as_step(_migrate_one) if len(syncs) <= MAX_TASKS else migrate_one
    return await sync_repositories(job, syncs, at_once=job.request.at_once, sync=step)


@flow(name="migrate-folder", flow_run_name="migrate {request.folder}")
async def migrate_folder(request: FolderMigrationRequest) -> FlowEnd[MigrationResult]:
    """Copy the repositories of a folder, each into one version, and compare both ends.

    Run again after any failure: what is here is not copied again. It fails in the end when a repository has, or differs.
    """
    settings, shown = read_settings(), progress.watched.get() or Progress()
    shown.unit = "repositories"
    storage = request.open(allowed_path(settings, request.folder, "folder"))
    async with (
        opened_catalog(settings) as catalog,
        Upstreams(settings, catalog.remotes) as upstreams,
        progress_artifact(shown),
    ):
        job = FolderJob(request, storage, catalog, upstreams, run_id(), shown, flow_run_id=recorded_run_id())
        result = await run_folder_migration(job, plan=_plan, sync=_sync, compare=_compare)
    await table_artifact("migrate", request.folder.name, result.summary(), result.rows())
    for note in result.notes:
        run_logger().warning(note)
    if result.failed and not result.dry_run:
        raise MigrationIncomplete(result)
    return completed(result.summary(), result)
