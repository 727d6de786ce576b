"""Users, tokens, rules and audit events under /api/v1, for administrators."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from catalog.access.administration import find_account
from catalog.access.policy import ACCOUNT_PATTERN, Account, Grant, Rule, Token
from catalog.audit import Event
from catalog.units import Seconds
from registry_api.context import Registry
from registry_api.management.dependencies import FAILURES, Asker, Count, ToldErrors, asker_of


class AccountOut(BaseModel):
    """A user or robot."""

    name: str
    robot: bool
    disabled: bool
    certificate: str
    groups: list[str]
    created_at: datetime


class AccountIn(BaseModel):
    """A user, or without a password a robot."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64, pattern=ACCOUNT_PATTERN)
    password: SecretStr | None = Field(None, min_length=8, max_length=1000)
    certificate: str = Field("", max_length=1000)


class TokenIn(BaseModel):
    """A token to make: `scopes` as `pull,push:team/**`, all that the owner may if there are none."""

    model_config = ConfigDict(extra="forbid")

    scopes: tuple[Grant, ...] = ()
    expires_in: Seconds | None = Field(
        None, ge=60, le=10**9, description="Seconds, or a duration such as 90d; none: it does not end."
    )
    note: str = Field("", max_length=1000)


class TokenOut(BaseModel):
    """A token; `secret` is told once, when it is made."""

    id: str
    owner: str
    scopes: list[Grant]
    note: str
    created_at: datetime
    expires_at: datetime | None
    secret: str | None = None


class EventOut(BaseModel):
    """One audit event."""

    happened_at: datetime
    actor: str
    action: str
    name: str
    outcome: str
    reason: str
    address: str
    detail: dict[str, Any]


AccountPath = Annotated[str, Path(json_schema_extra={"pattern": ACCOUNT_PATTERN, "maxLength": 64})]


def administration_routes(registry: Registry) -> APIRouter:
    """Users, tokens, rules and audit events, for administrators."""
    router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ToldErrors, responses=FAILURES)
    asking = Depends(asker_of(registry))
    commit = registry.threads.commit

    @router.get("/users", response_model=list[AccountOut])
    async def list_users(asker: Asker = asking) -> list[AccountOut]:
        """All users and robots."""
        policy = asker.administration().policy
        return [_account_out(one, policy.groups) for _, one in sorted(policy.accounts.items())]

    @router.post("/users", response_model=AccountOut, status_code=201)
    async def add_user(wanted: AccountIn, asker: Asker = asking) -> AccountOut:
        """Make a user, or a robot."""
        password = wanted.password.get_secret_value() if wanted.password else None
        desk = asker.administration()
        made = await commit(desk.add_account, wanted.name, password=password, certificate=wanted.certificate)
        return _account_out(made, {})

    @router.delete("/users/{name}", status_code=204)
    async def delete_user(name: AccountPath, asker: Asker = asking) -> None:
        """Remove a user or robot."""
        await commit(asker.administration().remove_account, name)

    @router.get("/users/{name}/tokens", response_model=list[TokenOut])
    async def list_tokens(name: AccountPath, asker: Asker = asking) -> list[TokenOut]:
        """An account's tokens."""
        policy = asker.administration().policy
        find_account(policy, name)
        return [_token_out(one) for one in policy.tokens.values() if one.owner == name]

    @router.post("/users/{name}/tokens", response_model=TokenOut, status_code=201)
    async def add_token(name: AccountPath, wanted: TokenIn, asker: Asker = asking) -> TokenOut:
        """Make a token; its secret is in this answer and nowhere else."""
        lifetime = timedelta(seconds=wanted.expires_in) if wanted.expires_in else None
        desk = asker.administration()
        made = await commit(desk.add_token, name, grants=wanted.scopes, lifetime=lifetime, note=wanted.note)
        return _token_out(made.token).model_copy(update={"secret": made.secret})

    @router.delete("/tokens/{token_id}", status_code=204)
    async def revoke_token(token_id: str, asker: Asker = asking) -> None:
        """Make a token worthless at once."""
        await commit(asker.administration().revoke_token, token_id)

    @router.get("/rules", response_model=list[Rule])
    async def list_rules(asker: Asker = asking) -> list[Rule]:
        """All rules, in their order."""
        return list(asker.administration().policy.rules)

    @router.get("/events", response_model=list[EventOut])
    async def list_events(
        n: Count = 100,
        actor: Annotated[str, Query(max_length=300)] = "",
        name: Annotated[str, Query(max_length=300)] = "",
        action: Annotated[str, Query(max_length=300)] = "",
        asker: Asker = asking,
    ) -> list[EventOut]:
        """The newest audit events, the last first."""
        asker.administration()
        found = await registry.threads.run(registry.gate.events.latest, limit=n, actor=actor, name=name, action=action)
        return [_event_out(one) for one in found]

    return router


def _event_out(event: Event) -> EventOut:
    return EventOut.model_validate(event, from_attributes=True)


def _token_out(token: Token) -> TokenOut:
    return TokenOut(
        id=token.id,
        owner=token.owner,
        scopes=list(token.grants),
        note=token.note,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )


def _account_out(account: Account, groups: Mapping[str, tuple[str, ...]]) -> AccountOut:
    return AccountOut(
        name=account.name,
        robot=account.robot,
        disabled=account.disabled,
        certificate=account.certificate,
        groups=sorted(group for group, members in groups.items() if account.name in members),
        created_at=account.created_at,
    )
