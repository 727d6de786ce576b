"""Lifecycles under /api/v1, for administrators: what clients are told of the end of content's life."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from catalog.lifecycle.records import scope_of
from catalog.lifecycle.rules import LifecycleRule, lifecycle_fields, parse_lifecycle_scope
from catalog.unit_fields import Duration
from catalog.units import parse_duration, parse_time
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute

_SCOPE = "Path or pattern of paths, and tags behind a colon: `prod/app:1.*`."
_Text = Annotated[str, Field(max_length=300)]


class LifecycleIn(BaseModel):
    """What is known of the end of content's life; at least one of date, `deprecated`, successor, message and `published`."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=1300, description=_SCOPE, examples=["prod/app:1.*"])]
    end_of_life: Annotated[
        str | None, Field(max_length=100, description="Date, or time with an offset.", examples=["2026-04-30"])
    ] = None
    deprecated: bool = False
    successor: _Text = ""
    message: _Text = ""
    warn_before: Duration = "90d"
    published: bool = False
    refuse: bool = False


class LifecycleOut(LifecycleIn):
    """A lifecycle, and who set it when."""

    end_of_life: datetime | None  # type: ignore[assignment]
    actor: str
    set_at: datetime


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/lifecycles", response_model=list[LifecycleOut])
async def list_lifecycle_rules(context: Context) -> list[LifecycleOut]:
    """List what is set about the life of content."""
    context.check_administrator()
    await context.threads.run(context.catalog.snapshots.refresh)
    return [_out(rule) for rule in context.catalog.lifecycles.all()]


@router.put("/lifecycles", response_model=LifecycleOut)
async def set_lifecycle_rule(context: Context, fields: LifecycleIn) -> LifecycleOut:
    """Set what clients are told about content; it replaces what was set for the same name."""
    context.check_administrator()
    pattern, tag = parse_lifecycle_scope(fields.name)
    rule = LifecycleRule(
        pattern,
        tag,
        context.account,
        context.registry.now(),
        parse_time(fields.end_of_life) if fields.end_of_life else None,
        fields.deprecated,
        fields.successor,
        fields.message,
        parse_duration(fields.warn_before),
        fields.published,
        fields.refuse,
    )
    await context.threads.commit(context.catalog.lifecycles.put, rule, address=context.address)
    return _out(rule)


@router.delete("/lifecycles", status_code=204)
async def delete_lifecycle_rule(
    context: Context, name: Annotated[str, Query(max_length=1300, description=_SCOPE)]
) -> None:
    """Delete what is set about the life of content."""
    context.check_administrator()
    await context.threads.commit(
        context.catalog.lifecycles.delete,
        *parse_lifecycle_scope(name),
        actor=context.account,
        now=context.registry.now(),
        address=context.address,
    )


def _out(rule: LifecycleRule) -> LifecycleOut:
    return LifecycleOut(name=scope_of(rule), actor=rule.actor, set_at=rule.set_at, **lifecycle_fields(rule))
