"""The flow `export-repositories`: versions into a bundle."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.bundles.format import Contents
from catalog.bundles.writer import Export, plan_export, write_bundle
from catalog.catalog import Catalog
from catalog.work_roots import allowed_path
from flows.bundles.requests import ExportRequest, ExportResult
from flows.runs import progress
from flows.runs.artifacts import progress_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from oci.errors import InvalidInput


@task(name="write-bundle", cache_policy=NO_CACHE)
async def write(catalog: Catalog, contents: Contents, bundle: Path, shown: Progress) -> None:
    """Copy every blob into the bundle, verified."""
    await asyncio.to_thread(write_bundle, catalog, contents, bundle, shown.receive)


def check_chosen(export: Export) -> None:
    """Raise InvalidInput when a bundle would hold nothing."""
    if not export.contents.versions:
        shown = "".join(f"\n  {name}: {reason}" for name, reason in list(export.dropped.items())[:5])
        raise InvalidInput(f"there is nothing to export: the filters select none of the tags{shown}")


@flow(name="export-repositories", persist_result=False, validate_parameters=True)
async def export_repositories(request: ExportRequest) -> "State[ExportResult]":
    """Write a bundle: a folder or tar that is an OCI image layout too. It appears whole or not at all."""
    shown = progress.watched.get() or Progress()
    async with opened_catalog() as catalog:
        bundle = allowed_path(catalog.settings, request.bundle, "bundle")
        export = await asyncio.to_thread(plan_export, catalog, request.versions(), now=datetime.now(UTC))
        check_chosen(export)
        shown.begin("exporting", 0)
        async with progress_artifact("export", request.bundle.name, shown):
            await write(catalog, export.contents, bundle, shown)
    result = ExportResult(request.bundle, export.contents, str(flow_run.id), export.dropped)
    get_run_logger().info(result.summary())
    return Completed(message=result.summary(), data=result)
