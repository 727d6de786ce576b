"""The flow `restore-version`: the content of an old version as a new one."""

from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.versions.version_origins import repository_origins
from flows.curate.restore_request import RestoreRequest
from flows.engine.endings import FlowEnd
from flows.engine.flows import flow
from flows.runs.operation import Operation, OperationResult
from flows.runs.operation_flow import run_operation


def prepare_restore(catalog: Catalog, request: RestoreRequest) -> Operation:
    """Read the wanted version; raise NameUnknown or VersionUnknown."""
    wanted = catalog.snapshots.get(request.repository, request.version)
    return Operation(
        repository=request.repository,
        name="restore",
        message=f"restored version {request.version}",
        plan=lambda latest: plan_towards(latest, wanted),
        allow_sparse=True,
        donors=(request.repository,),
        origins=repository_origins({request.repository: wanted.version}),
    )


@flow(
    name="restore-version",
    flow_run_name="restore {request.repository} to version {request.version}",
)
async def restore_version(request: RestoreRequest) -> FlowEnd[OperationResult]:
    """Make a new version with the content of an old one. Nothing is copied: versions never lose content while they exist."""
    return await run_operation(
        lambda catalog: prepare_restore(catalog, request), actor="restore-version", dry_run=request.dry_run
    )
