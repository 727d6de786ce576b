"""Users, tokens, rules and audit events under /api/v1, for administrators."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from catalog.access.administration import find_account
from catalog.access.policy import ACCOUNT_PATTERN, Account, Grant, Rule, Token
from catalog.unit_fields import Seconds, duration_schema
from registry_api.management.dependencies import FAILURES, Context, Count, ManagementRoute


class AccountOut(BaseModel):
    """A user or robot."""

    name: str
    robot: bool
    disabled: bool
    certificate: str
    groups: list[str]
    created_at: datetime


class AccountIn(BaseModel):
    """A user; without a password, a robot."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=64, pattern=ACCOUNT_PATTERN)
    password: SecretStr | None = Field(None, min_length=8, max_length=1000)
    certificate: str = Field("", max_length=1000)


class TokenIn(BaseModel):
    """A new token: `scopes` as `pull,push:team/**`; without scopes, all rights of its owner."""

    model_config = ConfigDict(extra="forbid")

    scopes: tuple[Grant, ...] = ()
    expires_in: Seconds | None = Field(
        None,
        ge=60,
        le=10**9,
        json_schema_extra=duration_schema(60, 10**9),
        description="Seconds, or a duration such as 90d; none: it does not end.",
    )
    note: str = Field("", max_length=1000)


class TokenOut(BaseModel):
    """A token; `secret` is returned once, on creation."""

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


router = APIRouter(prefix="/api/v1", tags=["administration"], route_class=ManagementRoute, responses=FAILURES)


@router.get("/users", response_model=list[AccountOut])
async def list_users(context: Context) -> list[AccountOut]:
    """List all users and robots."""
    policy = context.administration().policy
    return [_account_out(account, policy.groups) for _, account in sorted(policy.accounts.items())]


@router.post("/users", response_model=AccountOut, status_code=201)
async def add_user(context: Context, fields: AccountIn) -> AccountOut:
    """Create a user, or a robot."""
    password = fields.password.get_secret_value() if fields.password else None
    administration = context.administration()
    account = await context.threads.commit(
        administration.add_account, fields.name, password=password, certificate=fields.certificate
    )
    return _account_out(account, {})


@router.delete("/users/{name}", status_code=204)
async def delete_user(context: Context, name: AccountPath) -> None:
    """Remove a user or robot."""
    await context.threads.commit(context.administration().remove_account, name)


@router.get("/users/{name}/tokens", response_model=list[TokenOut])
async def list_tokens(context: Context, name: AccountPath) -> list[TokenOut]:
    """List an account's tokens."""
    policy = context.administration().policy
    find_account(policy, name)
    return [_token_out(token) for token in policy.tokens.values() if token.owner == name]


@router.post("/users/{name}/tokens", response_model=TokenOut, status_code=201)
async def add_token(context: Context, name: AccountPath, fields: TokenIn) -> TokenOut:
    """Create a token; only this response contains its secret."""
    lifetime = timedelta(seconds=fields.expires_in) if fields.expires_in else None
    administration = context.administration()
    created = await context.threads.commit(
        administration.add_token, name, grants=fields.scopes, lifetime=lifetime, note=fields.note
    )
    return _token_out(created.token).model_copy(update={"secret": created.secret})


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(context: Context, token_id: str) -> None:
    """Revoke a token at once."""
    await context.threads.commit(context.administration().revoke_token, token_id)


@router.get("/rules", response_model=list[Rule])
async def list_rules(context: Context) -> list[Rule]:
    """List all access rules, in their order."""
    return list(context.administration().policy.rules)


@router.get("/events", response_model=list[EventOut])
async def list_events(
    context: Context,
    n: Count = 100,
    actor: Annotated[str, Query(max_length=300)] = "",
    name: Annotated[str, Query(max_length=300)] = "",
    action: Annotated[str, Query(max_length=300)] = "",
) -> list[EventOut]:
    """List the newest audit events, the latest first."""
    context.check_administrator()
    events = await context.threads.run(
        context.registry.access.events.latest, limit=n, actor=actor, name=name, action=action
    )
    return [EventOut.model_validate(event, from_attributes=True) for event in events]


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
