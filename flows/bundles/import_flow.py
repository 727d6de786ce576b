"""The flow `import-bundle`: a bundle's versions into this catalogue."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from catalog.bundles.files import open_by_name
from catalog.bundles.format import BundledVersion, Contents
from catalog.bundles.reader import check_base, read_contents, stage_bundle
from catalog.bundles.trust import JudgedImport, ReadFile, judge_import
from catalog.bundles.writer import refused_names
from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.policy_gates.operations import record_findings
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import VersionOrigin
from catalog.work_roots import allowed_path
from flows.bundles.requests import ImportRequest, ImportResult
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, result_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, OperationResult, perform
from flows.runs.operation_flow import commit_operation
from flows.runs.progress import Progress

ACTOR = "import-bundle"


@task(name="stage-bundle")
async def stage(catalog: Catalog, bundle: Path, shown: Progress) -> Contents:
    """Verify every file of the bundle and keep its content; nothing is visible yet."""
    return await asyncio.to_thread(stage_bundle, catalog, bundle, shown.count_bytes)


def import_operation(catalog: Catalog, one: BundledVersion, allowed: JudgedImport, request: ImportRequest) -> Operation:
    """Give a repository what may come of a bundled version."""

    def plan(latest: Snapshot) -> Sequence[Change]:
        is_additive = request.mode == "additive"
        return plan_towards(latest, allowed.towards(catalog, latest), additive=is_additive)

    return Operation(
        repository=one.repository,
        name="import",
        message=f"version {one.version} of bundle {request.bundle.name}",
        plan=plan,
        allow_sparse=True,
        donors=(one.repository,),
        origins=(VersionOrigin("bundle", request.bundle.name, one.version),),
        refused=allowed.judged.refused,
    )


def judge_bundle(
    catalog: Catalog, contents: Contents, request: ImportRequest, *, read: ReadFile | None = None
) -> dict[str, JudgedImport]:
    """Return what may come, by repository; raise PolicyUnknown. With `read`, out of the bundle, and it is told nobody."""
    now = datetime.now(UTC)
    found = {
        one.repository: judge_import(catalog, one, contents, policy=request.signed_by, now=now, read=read)
        for one in contents.versions
    }
    for repository, one in found.items():
        if read is None:
            record_findings(catalog.events, "import", repository, one.judged.findings, actor=ACTOR, now=now)
    return found


def check_bundle(catalog: Catalog, bundle: Path, request: ImportRequest) -> tuple[Contents, dict[str, JudgedImport]]:
    """Return what a bundle says it holds and what may come of it, without its content; raise BundleInvalid, PolicyUnknown."""
    contents = read_contents(bundle)
    check_base(catalog, contents)
    with open_by_name(bundle) as read:
        return contents, judge_bundle(catalog, contents, request, read=read)


def _check(catalog: Catalog, operations: list[Operation]) -> None:
    """Plan all commits before the first is made, so that one that cannot be made leaves no half of a bundle behind."""
    for operation in operations:
        perform(catalog, operation, actor=ACTOR, run_id="check", now=datetime.now(UTC), dry_run=True)


@flow(name="import-bundle", flow_run_name="import {request.bundle.name}")
async def import_bundle(request: ImportRequest) -> FlowEnd[ImportResult]:
    """Take a bundle in: all of it is verified before the catalogue is touched. Run again after any failure."""
    shown = progress.watched.get() or Progress()
    async with opened_catalog() as catalog:
        bundle = allowed_path(catalog.settings, request.bundle, "bundle")
        if request.signed_by:
            catalog.policies.get(request.signed_by)
        if request.dry_run:
            contents, allowed = await asyncio.to_thread(check_bundle, catalog, bundle, request)
            run_logger().info("%s can be imported: %d blobs", bundle, len(contents.blobs))
            return completed(f"{bundle} can be imported", _result(bundle, (), allowed))
        shown.begin("importing", 0)
        async with progress_artifact(shown):
            contents = await stage(catalog, bundle, shown)
        allowed = await asyncio.to_thread(judge_bundle, catalog, contents, request)
        operations = [import_operation(catalog, one, allowed[one.repository], request) for one in contents.versions]
        await asyncio.to_thread(_check, catalog, operations)
        results = [await commit_operation(catalog, operation, ACTOR, dry_run=False) for operation in operations]
    for result in results:
        await result_artifact("import", result.repository, result.summary(), result.items)
    imported = _result(bundle, tuple(results), allowed)
    for note in (*imported.notes, *(f"{name} is refused: {reason}" for name, reason in imported.refused.items())):
        run_logger().warning(note)
    return completed(imported.summary(), imported)


def _result(bundle: Path, results: tuple[OperationResult, ...], allowed: Mapping[str, JudgedImport]) -> ImportResult:
    judged = {repository: one.judged for repository, one in allowed.items()}
    notes = tuple(f"{repository}:{note}" for repository, one in judged.items() for note in one.notes)
    return ImportResult(bundle, results, recorded_run_id(), refused_names(judged), notes)
