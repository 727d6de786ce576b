"""The flow `migrate-catalog`: the catalogue moves to another database, while pulls go on. Run by its command alone."""

import asyncio

from catalog.migration.migration import Migration, one_at_a_time, settings_of_target
from catalog.settings import Settings, read_settings
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.storage.migrate_request import MigrateRequest, MigrateResult
from oci.errors import CatalogUnusable


@task(name="check-ends")
async def check_ends(migration: Migration, request: MigrateRequest) -> None:
    """Check that the source is whole and the target free, and mark the target."""
    async with opened_catalog():
        pass  # it is brought up to date
    await asyncio.to_thread(migration.begin, dry_run=request.dry_run)


@task(name="count-rows")
async def count_rows(migration: Migration) -> None:
    """Count what would be moved."""
    await asyncio.to_thread(migration.count)


@task(name="copy-ahead")
async def copy_ahead(migration: Migration) -> None:
    """Copy files and rows while pushes go on."""
    await asyncio.to_thread(migration.copy_ahead)


@task(name="switch-catalog")
async def switch_catalog(migration: Migration) -> None:
    """Copy what is new while nobody writes, compare both sides, and mark the old catalogue as moved."""
    await asyncio.to_thread(migration.switch)


@task(name="open-target")
async def open_target(migration: Migration) -> None:
    """Open the new catalogue to all."""
    await asyncio.to_thread(migration.finish)


@flow(name="migrate-catalog", flow_run_name="migrate catalogue")
async def migrate_catalog(request: MigrateRequest) -> FlowEnd[MigrateResult]:
    """Move the catalogue. Killed at any point, one of both places is in charge, and the next run comes to the same end."""
    settings = read_settings()
    if not settings.has_catalog:
        raise CatalogUnusable(f"{settings.catalog_file}: there is no catalogue to move")
    target = settings_of_target(settings, request.to, request.password_file)
    with one_at_a_time(settings):
        migration = await _run(settings, target, request)
    result = MigrateResult(migration.report, request.dry_run, recorded_run_id())
    await table_artifact("migrate", "catalog", result.summary(), result.rows())
    run_logger().info(result.summary())
    return completed(result.summary(), result)


async def _run(settings: Settings, target: Settings, request: MigrateRequest) -> Migration:
    migration = await asyncio.to_thread(Migration, settings, target)
    if await asyncio.to_thread(migration.find_moved):
        if not request.dry_run:
            await open_target(migration)
        return migration
    await check_ends(migration, request)
    if request.dry_run:
        await count_rows(migration)
        return migration
    await copy_ahead(migration)
    await switch_catalog(migration)
    await open_target(migration)
    return migration
