"""Rules of retention under /api/v1, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Path

from catalog.access.policy import ACCOUNT_PATTERN
from catalog.retention.rules import RetentionRule
from oci.errors import InvalidInput
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute

RulePath = Annotated[str, Path(json_schema_extra={"pattern": ACCOUNT_PATTERN, "maxLength": 64})]


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/retention", response_model=list[RetentionRule])
async def list_rules(context: Context) -> list[RetentionRule]:
    """List all retention rules."""
    context.check_administrator()
    return list(await context.threads.run(context.catalog.retention_rules.all))


@router.put("/retention/{name}", response_model=RetentionRule)
async def set_rule(context: Context, name: RulePath, rule: RetentionRule) -> RetentionRule:
    """Set a rule; it replaces an earlier one of its name."""
    context.check_administrator()
    if rule.name != name:
        raise InvalidInput(f"invalid rule name {rule.name!r} in the body: expected {name[:80]!r}, as in the path")
    await context.threads.commit(context.catalog.retention_rules.put, rule, actor=context.account)
    context.note("set-retention", name, detail=rule.model_dump())
    return rule


@router.delete("/retention/{name}", status_code=204)
async def delete_rule(context: Context, name: RulePath) -> None:
    """Delete a rule."""
    context.check_administrator()
    await context.threads.commit(context.catalog.retention_rules.delete, name, actor=context.account)
    context.note("delete-retention", name, detail={})
