"""`/token`: bearer tokens for logins, by GET and by POST (OAuth 2).

Source: distribution project, "Token Authentication Specification" and "OAuth2 Token Authentication"; RFC 8693 for the exchange of
identity tokens.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from catalog.access.bearer_tokens import (
    Scope,
    Subject,
    needs_key,
    parse_scope,
    read_refresh_token,
    sign_refresh_token,
    sign_token,
    wanted_actions,
    with_key,
)
from catalog.access.policy import NOBODY, Action, Caller, Policy
from catalog.access.store import AccessStore
from catalog.units import format_time
from oci.errors import EntrepotError, InvalidInput, StorageFull, Unauthorized
from registry_api.auth.access_controller import Credentials, address_of, parse_authorization
from registry_api.auth.challenges import BASIC
from registry_api.auth.oidc_tokens import IDENTITY_USER
from registry_api.context import CurrentRegistry, Registry
from registry_api.http.bodies import read_whole
from registry_api.http.fastapi_errors import fastapi_error_response
from registry_api.http.messages import announced_length

log = logging.getLogger("registry_api")
_LARGEST_FORM = 64 * 1024
_MOST_SCOPES = 100
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_IDENTITY = frozenset({"urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt"})
Fields = Mapping[str, Sequence[str]]


class TokenRequest(NamedTuple):
    """A request for a token, once its login is checked."""

    subject: Subject
    scopes: Sequence[Scope]
    refresh: bool


router = APIRouter(tags=["token"])


@router.get("/token", response_model=None)
async def get_token(request: Request, registry: CurrentRegistry) -> dict[str, object] | Response:
    """Issue a token for `scope` (may be repeated), for the login of the Authorization header, or an anonymous one.

    `offline_token=true` adds a refresh token.
    """
    try:
        registry.rate.spend(registry.cost_key(NOBODY, request.scope))
        header = request.headers.get("authorization")
        credentials = parse_authorization(header.encode("latin-1")) if header else None
        if credentials is not None and credentials.scheme != "basic":
            raise Unauthorized("/token takes HTTP Basic only: a user name and a password")
        subject = Subject()
        if credentials is not None:
            subject = await registry.access.log_in(credentials, address_of(request.scope))
        query = _read_fields(request.scope["query_string"])
        is_offline = _first(query, "offline_token").lower() == "true"
        return await issue_token(registry, TokenRequest(subject, _scopes(query), is_offline))
    except EntrepotError as error:
        return fastapi_error_response(error, (b"www-authenticate", BASIC))


@router.post("/token", response_model=None)
async def post_token(request: Request, registry: CurrentRegistry) -> dict[str, object] | Response:
    """Issue a token by a form: `grant_type` is password, refresh_token, or token-exchange for an OpenID Connect token."""
    try:
        registry.rate.spend(registry.cost_key(NOBODY, request.scope))
        announced = announced_length(request.scope)
        form = _read_fields(await read_whole(request.receive, limit=_LARGEST_FORM, announced=announced))
        subject = await _subject(registry, request, form)
        return await issue_token(registry, TokenRequest(subject, _scopes(form), _wants_refresh(form)))
    except EntrepotError as error:
        return fastapi_error_response(error, (b"www-authenticate", BASIC))


async def _subject(registry: Registry, request: Request, form: Fields) -> Subject:
    address = address_of(request.scope)
    match _first(form, "grant_type"):
        case "password":
            return await registry.access.log_in(
                Credentials("basic", _first(form, "username"), _first(form, "password")), address
            )
        case "refresh_token":
            policy, now = registry.access.store.policy, registry.now()
            bearer, subject = read_refresh_token(policy, _first(form, "refresh_token"), now=now)
            if not bearer.is_valid(policy, now):
                raise Unauthorized("the refresh token is no longer valid; log in again")
            return subject
        case grant if grant == _EXCHANGE:
            if _first(form, "subject_token_type") not in _IDENTITY:
                raise InvalidInput(f"invalid subject_token_type: expected one of {', '.join(sorted(_IDENTITY))}")
            return await registry.access.log_in(
                Credentials("basic", IDENTITY_USER, _first(form, "subject_token")), address
            )
        case other:
            raise InvalidInput(f"invalid grant_type {other[:80]!r}: expected password, refresh_token or {_EXCHANGE}")


def _wants_refresh(form: Fields) -> bool:
    return _first(form, "access_type") == "offline" or _first(form, "grant_type") == "refresh_token"


def _read_fields(raw: bytes) -> Fields:
    """Return the fields of a query or a form; a plus sign is a blank in both. Raise InvalidInput."""
    try:
        return parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=_MOST_SCOPES)
    except ValueError:
        raise InvalidInput(f"invalid fields: expected UTF-8 and at most {_MOST_SCOPES} fields") from None


def _first(fields: Fields, name: str) -> str:
    return fields.get(name, ("",))[0]


def _scopes(fields: Fields) -> Sequence[Scope]:
    """Return the requested scopes; one parameter may hold several, separated by blanks."""
    texts = [text for value in fields.get("scope", ()) for text in value.split()]
    return [scope for scope in map(parse_scope, texts[:_MOST_SCOPES]) if scope is not None]


async def grant_scopes(registry: Registry, subject: Subject, scopes: Sequence[Scope]) -> list[Scope]:
    """Return the requested scopes as far as rules and the login's own scope allow; without those that nothing is left of."""
    caller = Caller(subject.account, subject.grants)
    granted: dict[str, list[Action]] = {}
    lists: list[Scope] = []
    for scope in scopes:
        if scope.kind != "repository":
            lists.append(scope)
            continue
        path = registry.rights_path(scope.name)
        public = await registry.is_open(scope.name)
        holder = caller if path == scope.name else caller.with_past(scope.name, path)
        for action in wanted_actions(scope):
            if action != "pull" and path != scope.name:
                continue
            if registry.access.decide(holder, action, path, public=public).allowed:
                granted.setdefault(scope.name, []).append(action)
    return [Scope("repository", name, tuple(dict.fromkeys(actions))) for name, actions in granted.items()] + lists[:1]


def renew_key(access: AccessStore, now: datetime) -> Policy:
    """Return the policy with a signing key: a new one, or without room for it an old one; raise StorageFull without any."""
    try:
        return access.update(lambda current: with_key(current, now))
    except StorageFull:
        if access.policy.keys:
            return access.policy
        raise


def prepare_key(registry: Registry) -> None:
    """Have a key for tokens from the start, so that no pull has to write one; log what fails."""
    access, now = registry.access.store, registry.now()
    if needs_key(access.policy, now):
        try:
            renew_key(access, now)
        except EntrepotError as error:
            log.error("making a key for tokens failed error=%s", error)  # noqa: TRY400


async def issue_token(registry: Registry, request: TokenRequest) -> dict[str, object]:
    """Return the token response of the specification; `expires_in` is in seconds."""
    await registry.find_distribution("")  # so that changes by other processes are known
    now, access = registry.now(), registry.access.store
    policy = access.policy
    if needs_key(policy, now):
        policy = await registry.threads.run(renew_key, access, now)
    lifetime = timedelta(seconds=registry.catalog.settings.token_lifetime)
    granted = await grant_scopes(registry, request.subject, request.scopes)
    token = sign_token(policy.keys[-1], request.subject, granted, now=now, lifetime=lifetime)
    response: dict[str, object] = {
        "token": token,
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": int(lifetime.total_seconds()),
        "issued_at": format_time(now.replace(microsecond=0)),
        "scope": " ".join(map(str, granted)),
    }
    if (
        request.refresh and request.subject.account and not request.subject.trust
    ):  # an identity token is good for minutes
        response["refresh_token"] = sign_refresh_token(policy.keys[-1], request.subject, now=now)
    return response
