"""Quotas under /api/v1, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from catalog.path_patterns import PathPattern
from catalog.quotas.quotas import Quota, QuotaUse
from registry_api.context import Registry
from registry_api.management.dependencies import FAILURES, Asker, ToldErrors, asker_of

_NUMBER = 2**53
Limit = Annotated[int | None, Field(ge=0, le=_NUMBER)]


class QuotaIn(BaseModel):
    """What the repositories that fit a pattern may hold together; null is no limit."""

    model_config = ConfigDict(extra="forbid")

    pattern: PathPattern
    max_bytes: Limit = None
    max_tags: Limit = None
    warn_bytes: Limit = None
    warn_tags: Limit = None


class QuotaOut(QuotaIn):
    """A quota, and what is used of it."""

    used_bytes: int
    used_tags: int


def quota_routes(registry: Registry) -> APIRouter:
    """Quotas: list, set, delete."""
    router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ToldErrors, responses=FAILURES)
    asking = Depends(asker_of(registry))
    quotas, commit = registry.catalog.quotas, registry.threads.commit

    @router.get("/quotas", response_model=list[QuotaOut])
    async def list_quotas(asker: Asker = asking) -> list[QuotaOut]:
        """All quotas, with what is used."""
        asker.administration()
        await registry.threads.run(registry.catalog.snapshots.refresh)
        return [_out(one) for one in quotas.all()]

    @router.put("/quotas", response_model=QuotaOut)
    async def set_quota(wanted: QuotaIn, asker: Asker = asking) -> QuotaOut:
        """Set the quota of a pattern, in place of the one that it has."""
        asker.administration()
        quota = Quota(**wanted.model_dump())
        await commit(quotas.put, quota, actor=asker.caller.account)
        asker.note("set-quota", quota.pattern, detail=wanted.model_dump())
        return _out(quotas.get(quota.pattern))

    @router.delete("/quotas", status_code=204)
    async def delete_quota(
        pattern: Annotated[str, Query(max_length=255, description="The pattern of the quota.")], asker: Asker = asking
    ) -> None:
        """Take a quota away."""
        asker.administration()
        await commit(quotas.delete, pattern, actor=asker.caller.account)
        asker.note("delete-quota", pattern, detail={})

    return router


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
