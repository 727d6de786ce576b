"""The flow `import-bundle`: a bundle's versions into this catalogue."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.bundles.format import BundledVersion, Contents
from catalog.bundles.reader import check_base, read_contents, stage_bundle
from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.versions.version_origins import VersionOrigin
from catalog.work_roots import allowed_path
from flows.bundles.requests import ImportRequest, ImportResult
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, result_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, perform
from flows.runs.operation_flow import commit_operation
from flows.runs.progress import Progress

ACTOR = "import-bundle"


@task(name="stage-bundle", cache_policy=NO_CACHE)
async def stage(catalog: Catalog, bundle: Path, shown: Progress) -> Contents:
    """Verify every file of the bundle and keep its content; nothing is visible yet."""
    return await asyncio.to_thread(stage_bundle, catalog, bundle, shown.receive)


def import_operation(one: BundledVersion, request: ImportRequest) -> Operation:
    """Give a repository the content of a bundled version."""
    wanted = one.as_snapshot()
    return Operation(
        repository=one.repository,
        name="import",
        message=f"version {one.version} of bundle {request.bundle.name}",
        plan=lambda latest: plan_towards(latest, wanted, additive=request.mode == "additive"),
        allow_sparse=True,
        donors=(one.repository,),
        origins=(VersionOrigin("bundle", request.bundle.name, one.version),),
    )


def _read(catalog: Catalog, bundle: Path) -> Contents:
    contents = read_contents(bundle)
    check_base(catalog, contents)
    return contents


def _check(catalog: Catalog, operations: list[Operation]) -> None:
    """Plan all commits before the first is made, so that one that cannot be made leaves no half of a bundle behind."""
    for operation in operations:
        perform(catalog, operation, actor=ACTOR, run_id="check", now=datetime.now(UTC), dry_run=True)


@flow(name="import-bundle", persist_result=False, validate_parameters=True)
async def import_bundle(request: ImportRequest) -> "State[ImportResult]":
    """Take a bundle in: all of it is verified before the catalogue is touched. Run again after any failure."""
    shown = progress.watched.get() or Progress()
    async with opened_catalog() as catalog:
        bundle = allowed_path(catalog.settings, request.bundle, "bundle")
        if request.dry_run:
            contents = await asyncio.to_thread(_read, catalog, bundle)
            get_run_logger().info("%s can be imported: %d blobs", bundle, len(contents.blobs))
            return Completed(message=f"{bundle} can be imported", data=ImportResult(bundle, (), str(flow_run.id)))
        shown.begin("importing", 0)
        async with progress_artifact("import", bundle.name, shown):
            contents = await stage(catalog, bundle, shown)
        operations = [import_operation(one, request) for one in contents.versions]
        await asyncio.to_thread(_check, catalog, operations)
        results = [await commit_operation(catalog, operation, ACTOR, dry_run=False) for operation in operations]
    for result in results:
        await result_artifact("import", result.repository, result.summary(), result.items)
    imported = ImportResult(bundle, tuple(results), str(flow_run.id))
    return Completed(message=imported.summary(), data=imported)
