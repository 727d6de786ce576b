"""Gates by trust policies under /api/v1, for administrators: where policies are asked, and what they have refused."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from catalog.path_patterns import PathPattern
from catalog.policy.gate_rules import POINTS, GateMode, GatePoint, PolicyGateRule
from catalog.policy.store import PolicyName
from catalog.policy_gates.reports import read_refusals, report_start
from catalog.unit_fields import Duration
from catalog.units import parse_duration
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute


class GateIn(BaseModel):
    """Where a policy is asked, and what a refusal means; `quarantine` is of pushes."""

    model_config = ConfigDict(extra="forbid")

    pattern: PathPattern
    policy: PolicyName
    at: Annotated[list[GatePoint], Field(min_length=1, max_length=len(POINTS))] = ["pull"]
    mode: GateMode = "refuse"
    quarantine: bool = True


class GateOut(GateIn):
    """A gate, and who set it when."""

    set_by: str
    set_at: AwareDatetime


class RefusalOut(BaseModel):
    """A digest that a policy refuses at a path, or would refuse, and how many requests met that."""

    path: str
    digest: str
    policy: str
    mode: str
    at: str
    reason: str
    requests: int
    first: AwareDatetime
    last: AwareDatetime


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/gates", response_model=list[GateOut])
async def list_policy_gates(context: Context) -> list[GateOut]:
    """List all gates by trust policies."""
    context.check_administrator()
    return await context.threads.run(lambda: [_out(rule) for rule in context.catalog.policies.records.gates])


@router.put("/gates", response_model=GateOut)
async def set_policy_gate(context: Context, fields: GateIn) -> GateOut:
    """Set a gate; it replaces an earlier one of the same pattern and policy."""
    context.check_administrator()
    rule = PolicyGateRule(
        pattern=fields.pattern,
        policy=fields.policy,
        at=tuple(point for point in POINTS if point in fields.at),
        mode=fields.mode,
        quarantine=fields.quarantine,
        set_by=context.account,
        set_at=context.registry.now(),
    )
    await context.threads.commit(context.catalog.policies.set_gate, rule, address=context.address)
    return _out(rule)


@router.delete("/gates", status_code=204)
async def delete_policy_gate(
    context: Context,
    pattern: Annotated[str, Query(max_length=1003, description="The pattern of paths.")],
    policy: Annotated[str, Query(max_length=64, description="The name of the policy.")],
) -> None:
    """Ask a policy at a pattern no longer."""
    context.check_administrator()
    await context.threads.commit(context.catalog.policies.unset_gate, pattern, policy)
    context.note("unset-policy-gate", pattern, detail={"policy": policy})


@router.get("/gates/report", response_model=list[RefusalOut])
async def report_gate_refusals(
    context: Context,
    since: Annotated[Duration, Query(description="How far back: `12h`, `7d`.")] = "7d",
) -> list[RefusalOut]:
    """Report what policies have refused, or would have, the most requests first."""
    context.check_administrator()
    start = report_start(context.registry.now(), parse_duration(since))
    found = await context.threads.run(read_refusals, context.catalog.events, start)
    return [RefusalOut.model_validate(one.to_json()) for one in found]


def _out(rule: PolicyGateRule) -> GateOut:
    return GateOut.model_validate(rule.model_dump(exclude={"at"}) | {"at": list(rule.at)})
