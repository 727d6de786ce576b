"""The flow `promote-content`: content of one repository for another, through gates."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.catalog import Catalog
from catalog.content.curation import curate
from catalog.content.promotion import (
    Gate,
    age_gate,
    ask_gates,
    immutable_gate,
    label_gate,
    plan_promotion,
    promotion_message,
    signed_gate,
)
from catalog.content.restore import plan_towards
from catalog.filters.selector import Selector
from catalog.units import parse_duration
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import repository_origins
from flows.promote.policy_hook import hook_gate, parse_hook
from flows.promote.request import PromoteRequest
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import MAX_PLANS, Operation, OperationResult
from flows.runs.operation_flow import finish_operation
from flows.sign.verifiers import check_by_identity, check_by_key
from oci.errors import Conflict, PromotionRefused

ACTOR = "promote-content"


def prepare_promotion(catalog: Catalog, request: PromoteRequest, *, now: datetime) -> Operation:
    """Choose, and ask the gates; the operation is for the target's version of this moment, and for no other.

    Raises PromotionRefused, KeyInvalid, and what `curate` raises.
    """
    gates = make_gates(catalog, request, now=now)
    source = catalog.snapshots.get(request.source, request.version)
    selectors = [Selector(request.source, tag) for tag in request.tags] or [Selector(request.source)]
    chosen = curate(
        catalog,
        selectors,
        now=now,
        wanted=request.wanted,
        platforms=request.platform_filter,
        versions={request.source: source.version},
    )
    base = catalog.snapshots.find(request.repository) or Snapshot(request.repository, 0)
    additive = request.mode == "additive"
    digests = request.wanted.tags.digests
    plan = plan_promotion(source, base, chosen, digests, additive=additive)
    verdicts = ask_gates(gates, plan)

    def planned(latest: Snapshot) -> Sequence[Change]:
        """Return what others have changed meanwhile does not matter as long as the gates would be asked the same."""
        now_planned = plan_promotion(source, latest, chosen, digests, additive=additive)
        if (now_planned.candidates, now_planned.removed) != (plan.candidates, plan.removed):
            raise Conflict(
                f"{request.repository} is at version {latest.version}; the gates were asked about {base.version}"
            )
        return plan_towards(latest, chosen.as_snapshot(request.repository), additive=additive)

    return Operation(
        repository=request.repository,
        name="promote",
        message=promotion_message(plan, verdicts),
        plan=planned,
        allow_sparse=True,
        donors=(request.source,),
        origins=repository_origins({request.source: source.version}),
        not_selected=chosen.dropped,
        verdicts=verdicts,
    )


def make_gates(catalog: Catalog, request: PromoteRequest, *, now: datetime) -> list[Gate]:
    """The gates in the order in which they are asked: what costs little first, hooks last. Raises KeyInvalid, InvalidInput."""
    settings = catalog.settings
    gates = [immutable_gate(patterns)] if (patterns := catalog.distributions.immutable_tags(request.repository)) else []
    if required_age := parse_duration(request.require_age):
        gates.append(age_gate(catalog, required_age, now))
    if request.require_labels:
        gates.append(label_gate(catalog, request.require_labels))
    gates += [signed_gate(catalog, check_by_key(catalog.settings, key), key.name) for key in request.signed_by]
    if request.signed_identity:
        check = check_by_identity(settings, request.signed_identity, request.signed_issuer, request.trust_config)
        gates.append(signed_gate(catalog, check, request.signed_identity))
    hooks = dict.fromkeys(filter(None, (settings.promotion_hook, request.hook)))
    gates += [hook_gate(settings, parse_hook(url), actor=ACTOR, dry_run=request.dry_run) for url in hooks]
    return gates


@flow(
    name="promote-content",
    flow_run_name="promote {request.source} to {request.repository}",
    persist_result=False,
    validate_parameters=True,
)
async def promote_content(request: PromoteRequest) -> "State[OperationResult]":
    """Make one version of the target with content of the source, once every gate has let it through; nothing is copied."""
    async with opened_catalog() as catalog:
        for _ in range(MAX_PLANS):
            try:
                operation = await asyncio.to_thread(prepare_promotion, catalog, request, now=datetime.now(UTC))
            except PromotionRefused as error:
                await _keep_verdicts(request, error.message, error.detail.get("gates"))
                raise
            try:
                state = await finish_operation(catalog, operation, actor=ACTOR, dry_run=request.dry_run)
            except Conflict:  # somebody was quicker: the gates are asked about the new state
                continue
            if operation.verdicts:
                await _keep_verdicts(request, operation.message, [one.to_json() for one in operation.verdicts])
            return state
    raise Conflict(f"{request.repository} was changed by others during {MAX_PLANS} tries in a row; run this again")


async def _keep_verdicts(request: PromoteRequest, told: str, verdicts: object) -> None:
    """Leave the table of what the gates said."""
    rows = verdicts if isinstance(verdicts, list) else []
    await table_artifact("gates", request.repository, told[:1000], rows)
