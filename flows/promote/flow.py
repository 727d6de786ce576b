"""The flow `promote-content`: content of one repository for another, through gates."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from catalog.catalog import Catalog
from catalog.content.promotion import (
    Gate,
    age_gate,
    ask_gates,
    immutable_gate,
    label_gate,
    plan_promotion,
    promotion_message,
    select_promoted,
    signed_gate,
)
from catalog.content.restore import plan_towards
from catalog.units import parse_duration
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import repository_origins
from flows.engine.current import direct_run, run_id
from flows.engine.endings import FlowEnd
from flows.engine.flows import flow
from flows.promote.policy_hook import hook_gate, parse_hook
from flows.promote.request import PromoteRequest
from flows.promote.trust_gate import TrustGate
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import MAX_PLANS, Operation, OperationResult, PlanChanged, perform
from flows.runs.operation_flow import finish_operation
from flows.sign.verifiers import check_by_identity, check_by_key
from oci.errors import Conflict, InvalidInput, PromotionRefused

if TYPE_CHECKING:
    from flows.promote.approval import PromotionAnswer

ACTOR = "promote-content"


def prepare_promotion(catalog: Catalog, request: PromoteRequest, *, now: datetime) -> Operation:
    """Choose, and ask the gates; the operation is for the target's version of this moment, and for no other.

    Raises PromotionRefused, KeyInvalid, and what `curate` raises.
    """
    gates, hooks = make_gates(catalog, request, now=now), make_hooks(catalog, request)
    source, chosen = select_promoted(
        catalog,
        request.source,
        request.version,
        request.tags,
        now=now,
        wanted=request.wanted,
        platforms=request.platform_filter,
    )
    trust = TrustGate(catalog, request, source, chosen, now=now)
    base = catalog.snapshots.find(request.repository) or Snapshot(request.repository, 0)
    additive = request.mode == "additive"
    digests = request.wanted.tags.digests
    plan = plan_promotion(source, base, chosen, digests, additive=additive)
    verdicts = ask_gates([*gates, *([trust] if trust else []), *hooks], plan)
    passing, notes = trust.passing(base)

    def planned(latest: Snapshot) -> Sequence[Change]:
        """Return what others have changed meanwhile does not matter as long as the gates would be asked the same."""
        now_planned = plan_promotion(source, latest, chosen, digests, additive=additive)
        if (now_planned.candidates, now_planned.removed) != (plan.candidates, plan.removed):
            raise Conflict(
                f"{request.repository} is at version {latest.version}; the gates were asked about {base.version}"
            )
        trust.check_still(latest)
        return plan_towards(latest, passing.as_snapshot(request.repository), additive=additive)

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
        notes=notes,
    )


def make_gates(catalog: Catalog, request: PromoteRequest, *, now: datetime) -> list[Gate]:
    """Return gates in the order in which they are asked: what costs little first. Raises KeyInvalid."""
    settings = catalog.settings
    gates = [immutable_gate(patterns)] if (patterns := catalog.distributions.immutable_tags(request.repository)) else []
    if required_age := parse_duration(request.require_age):
        gates.append(age_gate(catalog, required_age, now))
    if request.require_labels:
        gates.append(label_gate(catalog, request.require_labels))
    gates += [signed_gate(catalog, check_by_key(catalog.settings, key), key.name) for key in request.signed_by_key]
    if request.signed_identity:
        check = check_by_identity(settings, request.signed_identity, request.signed_issuer, request.trust_config)
        gates.append(signed_gate(catalog, check, request.signed_identity))
    return gates


def make_hooks(catalog: Catalog, request: PromoteRequest) -> list[Gate]:
    """Return the gates of policy services, which are asked last. Raises InvalidInput."""
    settings = catalog.settings
    hooks = dict.fromkeys(filter(None, (settings.promotion_hook, request.hook)))
    return [hook_gate(settings, parse_hook(url), actor=ACTOR, dry_run=request.dry_run) for url in hooks]


@flow(name="promote-content", flow_run_name="promote {request.source} to {request.repository}")
async def promote_content(request: PromoteRequest) -> FlowEnd[OperationResult]:
    """Make one version of the target with content of the source, once every gate has let it through; nothing is copied."""
    _check_time(request)
    async with opened_catalog() as catalog:
        answer = await _ask_approval(catalog, request) if request.approval and not request.dry_run else None
        for _ in range(MAX_PLANS):
            operation = await _prepare(catalog, request)
            if answer is not None:
                operation = replace(operation, message=f"{answer.said}; {operation.message}")
            try:
                state = await finish_operation(
                    catalog,
                    operation,
                    actor=ACTOR,
                    dry_run=request.dry_run,
                    expected=answer.plan if answer else request.expect,
                )
            except PlanChanged:
                raise
            except Conflict:  # somebody was quicker: the gates are asked about the new state
                continue
            if operation.verdicts:
                await _keep_verdicts(request, operation.message, [one.to_json() for one in operation.verdicts])
            return state
    raise Conflict(f"{request.repository} was changed by others during {MAX_PLANS} tries in a row; run this again")


def _check_time(request: PromoteRequest) -> None:
    """Raise InvalidInput for a run that begins later than it may."""
    if request.not_after is not None and datetime.now(UTC) > request.not_after:
        raise InvalidInput(
            f"this promotion had to begin by {request.not_after:%Y-%m-%d %H:%M:%S %Z}, and no worker took it; nothing was done: "
            "start it again"
        )


async def _prepare(catalog: Catalog, request: PromoteRequest) -> Operation:
    """Plan, and ask the gates; leave the table of verdicts where one refuses."""
    try:
        return await asyncio.to_thread(prepare_promotion, catalog, request, now=datetime.now(UTC))
    except PromotionRefused as error:
        await _keep_verdicts(request, error.message, error.detail.get("gates"))
        raise


async def _ask_approval(catalog: Catalog, request: PromoteRequest) -> "PromotionAnswer | None":
    """Return a person's approval of the plan, None where nothing would change; note in the audit log what was said."""
    if direct_run() is not None:
        raise InvalidInput(
            "approval needs a Prefect server that people can open: start `entrepot up`, or set ENTREPOT_PREFECT_API_URL"
        )
    from flows.promote.approval import ApprovalRefused, approval_event, ask_approval

    now, run = datetime.now(UTC), run_id()
    operation = await _prepare(catalog, request)
    plan = await asyncio.to_thread(perform, catalog, operation, actor=ACTOR, run_id=run, now=now, dry_run=True)
    if not plan.delta:
        return None
    patience = parse_duration(request.approval_timeout)
    answer = await ask_approval(catalog, plan, source=request.source, patience=patience)
    event = approval_event(answer, plan, source=request.source, run_id=run, now=datetime.now(UTC))
    await asyncio.to_thread(catalog.events.record, [event])
    if answer.decision != "approve":
        raise ApprovalRefused(f"the promotion to {request.repository} was {answer.said}")
    return answer


async def _keep_verdicts(request: PromoteRequest, told: str, verdicts: object) -> None:
    """Leave the table of what the gates said."""
    rows = verdicts if isinstance(verdicts, list) else []
    await table_artifact("gates", request.repository, told[:1000], rows)
