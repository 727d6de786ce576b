"""Rules of retention under /api/v1, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from catalog.access.policy import ACCOUNT_PATTERN
from catalog.retention.rules import RetentionRule
from oci.errors import InvalidInput
from registry_api.context import Registry
from registry_api.management.dependencies import FAILURES, Asker, ToldErrors, asker_of

RulePath = Annotated[str, Path(json_schema_extra={"pattern": ACCOUNT_PATTERN, "maxLength": 64})]


def retention_routes(registry: Registry) -> APIRouter:
    """Rules of retention: list, set, delete."""
    router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ToldErrors, responses=FAILURES)
    asking = Depends(asker_of(registry))
    rules, commit = registry.catalog.retention_rules, registry.threads.commit

    @router.get("/retention", response_model=list[RetentionRule])
    async def list_rules(asker: Asker = asking) -> list[RetentionRule]:
        """All rules."""
        asker.administration()
        return list(await registry.threads.run(rules.all))

    @router.put("/retention/{name}", response_model=RetentionRule)
    async def set_rule(name: RulePath, wanted: RetentionRule, asker: Asker = asking) -> RetentionRule:
        """Set a rule, in place of the one of its name."""
        asker.administration()
        if wanted.name != name:
            raise InvalidInput(f"the rule is named {wanted.name!r} in the body and {name[:80]!r} in the path")
        await commit(rules.put, wanted, actor=asker.caller.account)
        asker.note("set-retention", name, detail=wanted.model_dump())
        return wanted

    @router.delete("/retention/{name}", status_code=204)
    async def delete_rule(name: RulePath, asker: Asker = asking) -> None:
        """Take a rule away."""
        asker.administration()
        await commit(rules.delete, name, actor=asker.caller.account)
        asker.note("delete-retention", name, detail={})

    return router
