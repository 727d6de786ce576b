"""The page of access, for administrators: accounts, groups and rules; and who may do what to one path, with the reason."""

from datetime import datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.access.policy import ACTIONS, ANONYMOUS, Policy
from oci.reference import is_name
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_MOST = 500


class AccountRowOut(BaseModel):
    """A user or robot: its groups, its tokens that have not expired, whether it is disabled."""

    name: str
    is_robot: bool
    is_disabled: bool
    has_certificate: bool
    groups: list[str]
    tokens: int
    created_at: datetime


class RuleRowOut(BaseModel):
    """A rule: whom it lets do what, on which paths."""

    id: str
    subjects: list[str]
    actions: list[str]
    patterns: list[str]


class RightOut(BaseModel):
    """What an account may do to the path, each action with what decided."""

    account: str
    actions: list[str]
    reason: str


class AccessPage(BaseModel):
    """Accounts and rules; `rights` are those on `path`, of everybody who has any. Lists are cut after some hundred."""

    path: str
    is_public: bool
    accounts: list[AccountRowOut]
    total_accounts: int
    rules: list[RuleRowOut]
    total_rules: int
    rights: list[RightOut]


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/access")
@router.get("/access.json")
async def show_access(visit: CurrentVisit, path: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Show accounts and rules, and who may do what to a path."""
    visit.check_administrator()
    return await visit.respond("access.html", lambda visit: read_access(visit, path.strip()))


def read_access(visit: Visit, path: str) -> AccessPage:
    """Return the view model; no query."""
    policy, now = visit.registry.access.store.policy, visit.registry.now()
    served = visit.catalog.distributions.find(path)
    accounts = sorted(policy.accounts.values(), key=lambda account: account.name)
    return AccessPage(
        path=path,
        is_public=served is not None and not served.private,
        accounts=[
            AccountRowOut(
                name=account.name,
                is_robot=account.robot,
                is_disabled=account.disabled,
                has_certificate=bool(account.certificate),
                groups=sorted(group for group, members in policy.groups.items() if account.name in members),
                tokens=sum(
                    token.owner == account.name and not token.is_expired(now) for token in policy.tokens.values()
                ),
                created_at=account.created_at,
            )
            for account in accounts[:_MOST]
        ],
        total_accounts=len(accounts),
        rules=[
            RuleRowOut(
                id=rule.id,
                subjects=list(rule.subjects),
                actions=list(rule.grant.actions),
                patterns=list(rule.grant.patterns),
            )
            for rule in policy.rules[:_MOST]
        ],
        total_rules=len(policy.rules),
        rights=list_rights(policy, path) if path and is_name(path) else [],
    )


def list_rights(policy: Policy, path: str) -> list[RightOut]:
    """Return who may do what to a path by rules, and which rule says so; without those who may do nothing. Pure."""
    found = []
    for account in islice((ANONYMOUS, *sorted(policy.accounts)), _MOST):
        decided = {action: policy.decide(account, action, path) for action in ACTIONS}
        allowed = [action for action, decision in decided.items() if decision.allowed]
        if allowed:
            reasons = dict.fromkeys(decided[action].reason for action in allowed)
            found.append(RightOut(account=account, actions=list(allowed), reason="; ".join(reasons)))
    return found
