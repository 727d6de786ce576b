"""The flow `curate-repository`: a version from a chosen set of tags and digests."""

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.catalog import Catalog
from catalog.curation import Pick, curate
from catalog.filters import PlatformFilter
from catalog.restore import plan_towards
from flows.curate_request import CurateRequest
from flows.operation import Operation, OperationResult
from flows.operation_flow import run_operation
from oci.platform import Platform


def prepare_curation(catalog: Catalog, request: CurateRequest) -> Operation:
    """Choose; raises what `curate` raises."""
    chosen = curate(
        catalog,
        [Pick.parse(text) for text in request.sources],
        tags=request.tag_filter,
        platforms=PlatformFilter(tuple(Platform.parse(text) for text in request.platforms)),
    )
    wanted = chosen.as_snapshot(request.repository)
    return Operation(
        repository=request.repository,
        name="curate",
        message=f"chosen from {', '.join(request.sources)}"[:1000],
        plan=lambda latest: plan_towards(latest, wanted, additive=request.mode == "additive"),
        allow_sparse=True,
        not_selected=chosen.dropped,
    )


@flow(
    name="curate-repository",
    flow_run_name="curate {request.repository}",
    persist_result=False,
    validate_parameters=True,
)
async def curate_repository(request: CurateRequest) -> "State[OperationResult]":
    """Make one version of what is chosen, recursively: images, children of indexes, signatures and other companions."""
    return await run_operation(
        lambda catalog: prepare_curation(catalog, request), actor="curate-repository", dry_run=request.dry_run
    )
