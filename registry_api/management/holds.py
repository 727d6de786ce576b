"""Holds under /api/v1, for administrators: rules, decisions on digests, and what is held now."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from catalog.holds.held import held_content
from catalog.holds.rules import HoldDecision, HoldRule, expiry_of, parse_decided_digest
from catalog.path_patterns import PathPattern
from catalog.unit_fields import Duration
from catalog.units import format_duration, parse_duration
from oci.digest import Digest
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute

_HELD_AT_MOST = 1000
DigestText = Annotated[str, Field(max_length=200, json_schema_extra={"examples": ["sha256:…"]})]


class HoldIn(BaseModel):
    """How long content of the paths that match a pattern is held; `trust_created`: the date that an image states counts."""

    model_config = ConfigDict(extra="forbid")

    pattern: PathPattern
    duration: Duration
    trust_created: bool = False


class HoldOut(HoldIn):
    """A hold, and who set it when."""

    actor: str
    set_at: datetime


class HoldDecisionIn(BaseModel):
    """A release or a block of a digest below a pattern of paths; `duration`: for how long, for ever without it."""

    model_config = ConfigDict(extra="forbid")

    digest: DigestText
    action: Literal["release", "block"]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    path: PathPattern = "**"
    owner: Annotated[str, Field(max_length=100)] = ""
    duration: Duration | None = None


class HoldDecisionOut(BaseModel):
    """A decision, and until when it is in force."""

    digest: str
    action: Literal["release", "block"]
    reason: str
    path: str
    owner: str
    actor: str
    decided_at: datetime
    expires_at: datetime | None
    in_force: bool


class HeldOut(BaseModel):
    """A manifest that a path does not serve now."""

    path: str
    digest: str
    tags: list[str]
    reason: str
    until: datetime | None


class HoldsOut(BaseModel):
    """All holds and decisions; `held` only where it is asked for."""

    rules: list[HoldOut]
    decisions: list[HoldDecisionOut]
    held: list[HeldOut] | None = None


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)
Pattern = Annotated[str, Query(max_length=1003, description="The pattern of paths.")]


@router.get("/holds", response_model=HoldsOut)
async def list_holds(
    context: Context,
    *,
    held: Annotated[bool, Query(description="List what is held now, up to 1000.")] = False,
) -> HoldsOut:
    """List all holds, releases and blocks."""
    context.check_administrator()
    catalog, now = context.catalog, context.registry.now()
    await context.threads.run(catalog.snapshots.refresh)

    def find_held() -> list[HeldOut]:
        found = held_content(catalog.holds, catalog.snapshots, catalog.distributions, catalog.facts, now)
        return [
            HeldOut(path=one.path, digest=one.digest, tags=list(one.tags), reason=one.reason, until=one.until)
            for one, _ in zip(found, range(_HELD_AT_MOST), strict=False)
        ]

    return HoldsOut(
        rules=[_rule_out(rule) for rule in catalog.holds.rules()],
        decisions=[_decision_out(decision, now) for decision in catalog.holds.decisions()],
        held=await context.threads.run(find_held) if held else None,
    )


@router.put("/holds", response_model=HoldOut)
async def set_hold(context: Context, fields: HoldIn) -> HoldOut:
    """Set the hold of a pattern; it replaces an earlier one."""
    context.check_administrator()
    now = context.registry.now()
    rule = HoldRule(fields.pattern, parse_duration(fields.duration), context.account, now, fields.trust_created)
    await context.threads.commit(context.catalog.holds.put_rule, rule, address=context.address)
    return _rule_out(rule)


@router.delete("/holds", status_code=204)
async def delete_hold(context: Context, pattern: Pattern) -> None:
    """Delete the hold of a pattern."""
    context.check_administrator()
    await context.threads.commit(
        context.catalog.holds.delete_rule,
        pattern,
        actor=context.account,
        now=context.registry.now(),
        address=context.address,
    )


@router.post("/holds/decisions", response_model=HoldDecisionOut, status_code=201)
async def decide_hold(context: Context, fields: HoldDecisionIn) -> HoldDecisionOut:
    """Release or block a digest; it replaces the earlier decision of that kind on the same digest and pattern."""
    context.check_administrator()
    now = context.registry.now()
    decision = HoldDecision(
        parse_decided_digest(fields.digest, fields.action),
        fields.action,
        fields.path,
        fields.reason,
        context.account,
        now,
        fields.owner,
        expiry_of(fields.duration, now),
    )
    made = await context.threads.commit(context.catalog.holds.decide, decision, address=context.address)
    return _decision_out(made, now)


@router.delete("/holds/decisions", status_code=204)
async def withdraw_decision(
    context: Context,
    digest: Annotated[str, Query(max_length=200, description="The digest that was decided on.")],
    path: Pattern = "**",
) -> None:
    """Take back what was decided on a digest below exactly this pattern."""
    context.check_administrator()
    await context.threads.commit(
        context.catalog.holds.withdraw,
        Digest.parse(digest),
        path,
        actor=context.account,
        now=context.registry.now(),
        address=context.address,
    )


def _rule_out(rule: HoldRule) -> HoldOut:
    return HoldOut(
        pattern=rule.pattern,
        duration=format_duration(rule.duration),
        trust_created=rule.trust_created,
        actor=rule.actor,
        set_at=rule.set_at,
    )


def _decision_out(decision: HoldDecision, now: datetime) -> HoldDecisionOut:
    return HoldDecisionOut(
        digest=decision.digest,
        action=decision.action,
        reason=decision.reason,
        path=decision.pattern,
        owner=decision.owner,
        actor=decision.actor,
        decided_at=decision.decided_at,
        expires_at=decision.expires_at,
        in_force=decision.is_in_force(now),
    )
