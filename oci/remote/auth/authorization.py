"""Authorization for one remote: Basic, or Bearer tokens by scope, held with the remote and nowhere else.

Source: distribution "Token Authentication Specification" and "OAuth2".
"""

import asyncio
import base64
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import httpx

from oci.errors import RemoteCorrupt, RemoteUnauthorized
from oci.remote.auth.challenge import Challenge, parse_challenges
from oci.remote.auth.keychain import Credential
from oci.remote.network.origin import UrlOrigin

_CLIENT = "entrepot"
_LIFETIME = 60.0
_MARGIN = 10.0
"""Seconds before its end at which a token is no longer used."""

_STRANGERS = 100
"""Number of other origins whose tokens are cached for one registry."""

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass(slots=True)
class _Token:
    value: str
    ends_at: float
    uses: int = 0


Next = Literal["done", "again", "refused"]
"""The consequence of a response: it is final, another try may help, or the login is refused."""


class Authorizer:
    """Answers the challenges of one origin; `clock` in seconds, `find` may read files and is called on a thread.

    A scope in several words is several scopes. Where the origin refuses the scope that is asked for, the one that its challenge
    names is tried.
    """

    def __init__(
        self, host: str, *, find: Callable[[], Credential | None], send: Send, clock: Callable[[], float]
    ) -> None:
        self._host, self._find, self._send, self._clock = host, find, send, clock
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}
        self._instead: dict[str, str] = {}
        self._guard = asyncio.Lock()
        self._credential: Credential | None = None
        self._is_asked = False

    def learn(self, headers: Iterable[str]) -> None:
        """Select the strongest challenge that can be met: Bearer before Basic."""
        challenges = {challenge.scheme: challenge for challenge in reversed(parse_challenges(headers))}
        self._challenge = challenges.get("bearer") or challenges.get("basic") or self._challenge

    async def header(self, scope: str) -> str | None:
        """Return the Authorization for a scope, or several separated by blanks; None where none is needed, or none is known."""
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            credential = await self._find_once()
            return None if credential is None else _basic(credential)
        async with self._guard:
            token = self._tokens.get(scope)
            if token is None or token.ends_at - _MARGIN <= self._clock():
                token = await self._fetch_token(challenge, scope)
                self._tokens[scope] = token
            token.uses += 1
        return f"Bearer {token.value}"

    def judge(self, scope: str, response: httpx.Response) -> Next:
        """Decide by a response whether the authorization that was sent has failed.

        A token that was good before may have ended: some registries then respond with 400, or 403 with `insufficient_scope`.
        """
        token, asked = self._tokens.get(scope), response.headers.get_list("www-authenticate")
        sent = response.request.headers.get("authorization", "")
        is_renewed = sent.startswith("Bearer ") and (
            token is None or sent != f"Bearer {token.value}"
        )  # by another request
        was_good = is_renewed or (token is not None and token.uses > 1)
        if response.status_code == 400:
            if is_renewed:
                return "again"
            return self._renew(scope) if was_good and _is_sent(response) else "done"
        if response.status_code == 403 and not (_is_sent(response) and _lacks_scope(asked)):
            return "done"
        if response.status_code not in (401, 403):
            return "done"
        before = self._challenge
        self.learn(asked)
        if self._challenge is None:
            return "refused"
        if is_renewed:
            return "again"
        if was_good or not _is_sent(response) or _asks_another(before, self._challenge):
            return self._renew(scope)
        named = self._challenge.parameters.get("scope", "")
        if self._challenge.scheme == "bearer" and named and named != self._instead.get(scope, scope):
            self._instead[scope] = named
            return self._renew(scope)
        return "done" if response.status_code == 403 else "refused"

    def _renew(self, scope: str) -> Next:
        self._tokens.pop(scope, None)
        return "again"

    async def refusal(self) -> RemoteUnauthorized:
        """Return the error for a remote that refuses the login, or needs one."""
        if await self._find_once() is None:
            message = "wants a login; give one with `podman login`, ENTREPOT_AUTH_FILE or ENTREPOT_LOGINS"
        else:
            message = "refuses the login found for it; check user, password and rights"
        return RemoteUnauthorized(message, registry=self._host, status=401)

    async def _find_once(self) -> Credential | None:
        if not self._is_asked:
            self._credential = await asyncio.to_thread(self._find)
            self._is_asked = True
        return self._credential

    async def _fetch_token(self, challenge: Challenge, scope: str) -> _Token:
        """Ask for a token of a scope, or where the token service has none for it, of that which the challenge names."""
        requested, named = self._instead.get(scope, scope), challenge.parameters.get("scope", "")
        url = _realm_url(challenge.parameters.get("realm", ""), self._host)
        credential = await self._find_once()
        response = await self._send(_token_request(url, challenge, requested, credential))
        if response.status_code in (400, 401, 403) and named and named != requested:
            response = await self._send(_token_request(url, challenge, named, credential))
            if response.status_code == 200:
                self._instead[scope] = named
        if response.status_code in (400, 401, 403):
            raise await self.refusal()
        if response.status_code != 200:
            raise RemoteUnauthorized(
                f"its token service {url.host} answered {response.status_code}",
                registry=self._host,
                status=response.status_code,
            )
        return self._read_token(response)

    def _read_token(self, response: httpx.Response) -> _Token:
        try:
            document = json.loads(response.content)
            value = document.get("token") or document["access_token"]
            lifetime = float(document.get("expires_in") or _LIFETIME)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise RemoteCorrupt("its token service sent no token", registry=self._host) from None
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise RemoteCorrupt("its token service sent a token that cannot be sent back", registry=self._host)
        return _Token(value, self._clock() + max(lifetime, _MARGIN + 1))


class Strangers:
    """Other origins that the registry sends us to: nothing of the registry's is shown to them. One that wants a token gets an
    anonymous one of its own."""

    def __init__(self, registry: str, *, send: Send, clock: Callable[[], float]) -> None:
        self._registry, self._send, self._clock = registry, send, clock
        self._kept: OrderedDict[UrlOrigin, Authorizer] = OrderedDict()

    def at(self, origin: UrlOrigin) -> "Authorizer":
        """Return the authorizer of an origin."""
        if origin not in self._kept:
            self._kept[origin] = _Stranger(self._registry, origin, send=self._send, clock=self._clock)
        self._kept.move_to_end(origin)
        if len(self._kept) > _STRANGERS:
            self._kept.popitem(last=False)
        return self._kept[origin]


class _Stranger(Authorizer):
    """Has no login, and so never sends one."""

    def __init__(self, registry: str, origin: UrlOrigin, *, send: Send, clock: Callable[[], float]) -> None:
        super().__init__(registry, find=lambda: None, send=send, clock=clock)
        self._registry, self._origin = registry, origin

    async def refusal(self) -> RemoteUnauthorized:
        """Return the error for an origin that needs a login."""
        return RemoteUnauthorized(
            f"sends us to {self._origin}, which wants a login of its own; that of the registry is not sent there",
            registry=self._registry,
            status=401,
        )


def _asks_another(before: Challenge | None, after: Challenge) -> bool:
    """Return whether a challenge wants something else than the one before, apart from the scope."""
    if before is None or before.scheme != after.scheme:
        return True
    return any(before.parameters.get(name) != after.parameters.get(name) for name in ("realm", "service"))


def _is_sent(response: httpx.Response) -> bool:
    return "authorization" in response.request.headers


def _lacks_scope(asked: Iterable[str]) -> bool:
    """Return whether a refusal says that the token's scope is why. Source: RFC 6750 section 3.1."""
    return any(
        one.scheme == "bearer" and one.parameters.get("error") == "insufficient_scope"
        for one in parse_challenges(asked)
    )


def _realm_url(realm: str, host: str) -> httpx.URL:
    try:
        url = httpx.URL(realm)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise RemoteCorrupt(f"names no usable token service: {realm[:200]!r}", registry=host)
    return url


def _basic(credential: Credential) -> str:
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def _token_request(url: httpx.URL, challenge: Challenge, scope: str, credential: Credential | None) -> httpx.Request:
    service = challenge.parameters.get("service", "")
    if credential and credential.identity_token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credential.identity_token,
            "service": service,
            "scope": scope,
            "client_id": _CLIENT,
        }
        return httpx.Request("POST", url, data=form)
    query: list[tuple[str, str | int | float | bool | None]] = [("service", service)] if service else []
    query.extend(("scope", one) for one in scope.split())
    headers = {"Authorization": _basic(credential)} if credential else {}
    return httpx.Request("GET", url.copy_merge_params(query), headers=headers)
