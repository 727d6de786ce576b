"""The flow `curate-repository`: a version from a chosen set of tags and digests."""

from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.content.edits import apply_edits
from catalog.content.restore import plan_towards
from catalog.versions.removal import Children
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import repository_origins
from flows.curate.request import CurateRequest
from flows.curate.selection import select_curation
from flows.engine.endings import FlowEnd
from flows.engine.flows import flow
from flows.runs.operation import Operation, OperationResult
from flows.runs.operation_flow import run_operation
from oci.errors import InvalidInput


def prepare_curation(catalog: Catalog, request: CurateRequest, *, now: datetime) -> Operation:
    """Choose; raises what `curate` raises, and InvalidInput when sources are named and nothing of them is chosen."""
    chosen = select_curation(catalog, request, now=now)
    if request.sources and not chosen.manifests and not request.allow_empty:
        shown = "".join(f"\n  {name}: {reason}" for name, reason in list(chosen.dropped.items())[:5])
        raise InvalidInput(f"nothing is chosen: the filters select none of the tags{shown}")
    wanted = chosen.as_snapshot(request.repository)
    return Operation(
        repository=request.repository,
        name="curate",
        message=_message(request),
        plan=lambda latest: plan_towards(latest, _content(catalog, request, latest, wanted)),
        allow_sparse=True,
        donors=tuple(sorted({request.repository, *(selector.repository for selector in request.selectors)})),
        origins=repository_origins(chosen.versions),
        not_selected=chosen.dropped,
    )


def _content(catalog: Catalog, request: CurateRequest, latest: Snapshot, chosen: Snapshot) -> Snapshot:
    """Return what the new version is to hold: the choice, by itself or on top of what is there, edited."""
    content = chosen
    if request.mode == "additive" or not request.sources:
        content = Snapshot(
            latest.repository, latest.version, {**latest.tags, **chosen.tags}, {**latest.manifests, **chosen.manifests}
        )
    if request.edits:
        content = apply_edits(content, request.edits, lambda: _children(catalog, request, latest))
    if latest.manifests and not content.manifests and not request.allow_empty:
        raise InvalidInput(f"nothing would be left of {request.repository}; ask for it by allow_empty (--allow-empty)")
    return content


def _children(catalog: Catalog, request: CurateRequest, latest: Snapshot) -> Children:
    names = {selector.repository for selector in request.selectors} | ({latest.repository} if latest.version else set())
    return {parent: children for name in sorted(names) for parent, children in catalog.history.children(name).items()}


def _message(request: CurateRequest) -> str:
    """Return what was chosen from where, and edited, for the version's record."""
    chosen = ", ".join(dict.fromkeys(map(str, request.selectors)))
    edits = [f"tag {', '.join(request.tag)}"] if request.tag else []
    edits += [f"untag {', '.join(request.untag)}"] if request.untag else []
    edits += [f"remove {', '.join(request.remove)}"] if request.remove else []
    return "; ".join([*([f"chosen from {chosen}"] if chosen else []), *edits])[:1000]


@flow(
    name="curate-repository",
    flow_run_name="curate {request.repository}",
)
async def curate_repository(request: CurateRequest) -> FlowEnd[OperationResult]:
    """Make one version of what is chosen, recursively: images, children of indexes, signatures and other companions."""
    return await run_operation(
        lambda catalog: prepare_curation(catalog, request, now=datetime.now(UTC)),
        actor="curate-repository",
        dry_run=request.dry_run,
        expected=request.expect,
    )
