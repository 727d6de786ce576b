"""Quotas under /api/v1, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from catalog.path_patterns import PathPattern
from catalog.quotas.quotas import Quota, QuotaUse
from catalog.unit_fields import Size, size_schema
from registry_api.management.dependencies import FAILURES, Context, ManagementRoute

_NUMBER = 2**53
Limit = Annotated[int | None, Field(ge=0, le=_NUMBER)]
Bytes = Annotated[Size | None, Field(ge=0, le=_NUMBER, json_schema_extra=size_schema(_NUMBER))]


class QuotaIn(BaseModel):
    """Limits of all repositories together that match a pattern; null is no limit."""

    model_config = ConfigDict(extra="forbid")

    pattern: PathPattern
    max_bytes: Bytes = None
    max_tags: Limit = None
    warn_bytes: Bytes = None
    warn_tags: Limit = None


class QuotaOut(QuotaIn):
    """A quota and its use."""

    used_bytes: int
    used_tags: int


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/quotas", response_model=list[QuotaOut])
async def list_quotas(context: Context) -> list[QuotaOut]:
    """List all quotas, with their use."""
    context.check_administrator()
    await context.threads.run(context.catalog.snapshots.refresh)
    return [_out(use) for use in context.catalog.quotas.all()]


@router.put("/quotas", response_model=QuotaOut)
async def set_quota(context: Context, fields: QuotaIn) -> QuotaOut:
    """Set a pattern's quota; it replaces an earlier one."""
    context.check_administrator()
    quota = Quota(**fields.model_dump())
    await context.threads.commit(context.catalog.quotas.put, quota, actor=context.account)
    context.note("set-quota", quota.pattern, detail=fields.model_dump())
    return _out(context.catalog.quotas.get(quota.pattern))


@router.delete("/quotas", status_code=204)
async def delete_quota(
    context: Context, pattern: Annotated[str, Query(max_length=1003, description="The pattern of the quota.")]
) -> None:
    """Delete a quota."""
    context.check_administrator()
    await context.threads.commit(context.catalog.quotas.delete, pattern, actor=context.account)
    context.note("delete-quota", pattern, detail={})


def _out(use: QuotaUse) -> QuotaOut:
    quota = use.quota
    return QuotaOut(
        pattern=quota.pattern,
        max_bytes=quota.max_bytes,
        max_tags=quota.max_tags,
        warn_bytes=quota.warn_bytes,
        warn_tags=quota.warn_tags,
        used_bytes=use.used.bytes,
        used_tags=use.used.tags,
    )
