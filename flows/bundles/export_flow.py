"""The flow `export-repositories`: versions into a bundle."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from catalog.browse.lineage import departure_event
from catalog.bundles.format import Contents
from catalog.bundles.writer import Export, plan_export, write_bundle
from catalog.catalog import Catalog
from catalog.policy_gates.operations import record_findings
from catalog.work_roots import allowed_path
from flows.bundles.requests import ExportRequest, ExportResult
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs import progress
from flows.runs.artifacts import progress_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from oci.errors import EntrepotError, InvalidInput

ACTOR = "export-repositories"
_NAMED = 5
"""Tags that an error names."""


@task(name="write-bundle")
async def write(catalog: Catalog, contents: Contents, bundle: Path, shown: Progress) -> None:
    """Copy every blob into the bundle, verified."""
    await asyncio.to_thread(write_bundle, catalog, contents, bundle, shown.count_bytes)


def check_chosen(export: Export) -> None:
    """Raise InvalidInput when a bundle would hold nothing."""
    if not export.contents.versions:
        left_out = export.refused or export.dropped
        shown = "".join(f"\n  {name}: {reason}" for name, reason in list(left_out.items())[:_NAMED])
        if len(left_out) > _NAMED:
            shown += f"\n  … and {len(left_out) - _NAMED} more"
        why = "trust policies refuse what is selected" if export.refused else "the filters select none of the tags"
        raise InvalidInput(f"there is nothing to export: {why}{shown}")


async def note_export(catalog: Catalog, contents: Contents, bundle: str, run_id: str) -> None:
    """Record what went out; a catalogue that takes no changes keeps no export from being made."""
    now = datetime.now(UTC)
    events = [
        departure_event("export", one.repository, one.version, bundle, actor=ACTOR, run_id=run_id, now=now)
        for one in contents.versions
    ]
    try:
        await asyncio.to_thread(catalog.events.record, events)
    except EntrepotError as error:
        run_logger().warning("the export is not recorded: %s", error)


@flow(name="export-repositories", flow_run_name="export {request.repositories}")
async def export_repositories(request: ExportRequest) -> FlowEnd[ExportResult]:
    """Write a bundle: a folder or tar that is an OCI image layout too. It appears whole or not at all."""
    shown = progress.watched.get() or Progress()
    async with opened_catalog() as catalog:
        bundle = allowed_path(catalog.settings, request.bundle, "bundle")
        now = datetime.now(UTC)
        export = await asyncio.to_thread(plan_export, catalog, request.versions(), now=now, signed_by=request.signed_by)
        for repository, judged in export.judged.items():
            await asyncio.to_thread(
                record_findings, catalog.events, "export", repository, judged.findings, actor=ACTOR, now=now
            )
        check_chosen(export)
        shown.begin("exporting", 0)
        async with progress_artifact(shown):
            await write(catalog, export.contents, bundle, shown)
        await note_export(catalog, export.contents, request.bundle.name, recorded_run_id())
    notes = tuple(f"{name}:{note}" for name, judged in export.judged.items() for note in judged.notes)
    not_selected = {name: reason for name, reason in export.dropped.items() if name not in export.refused}
    result = ExportResult(request.bundle, export.contents, recorded_run_id(), not_selected, export.refused, notes)
    for told in (*notes, *(f"{name} is left out: {reason}" for name, reason in export.refused.items())):
        run_logger().warning(told)
    run_logger().info(result.summary())
    return completed(result.summary(), result)
