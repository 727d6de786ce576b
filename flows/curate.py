"""The flow `curate-repository`: a version from a chosen set of tags and digests."""

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.catalog import Catalog
from catalog.restore import plan_towards
from flows.curate_request import CurateRequest, choose_content
from flows.operation import Operation, OperationResult
from flows.operation_flow import run_operation
from oci.errors import InvalidInput


def prepare_curation(catalog: Catalog, request: CurateRequest, *, now: datetime) -> Operation:
    """Choose; raises what `curate` raises, and InvalidInput when nothing is chosen."""
    chosen = choose_content(catalog, request, now=now)
    if not chosen.manifests:
        shown = "".join(f"\n  {name}: {reason}" for name, reason in list(chosen.dropped.items())[:5])
        raise InvalidInput(f"nothing is chosen: the filters select none of the tags{shown}")
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
        lambda catalog: prepare_curation(catalog, request, now=datetime.now(UTC)),
        actor="curate-repository",
        dry_run=request.dry_run,
    )
