"""Authorization for one remote: Basic, or Bearer tokens by scope, kept with the remote and nowhere else.

Source: distribution "Token Authentication Specification" and "OAuth2".
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import httpx

from oci.errors import RemoteCorrupt, RemoteUnauthorized
from oci.remote.challenge import Challenge, parse_challenges
from oci.remote.keychain import Credential

_CLIENT = "entrepot"
_LIFETIME = 60.0
_MARGIN = 10.0
"""Seconds before its end at which a token is no longer used."""

Send = Callable[[httpx.Request], Awaitable[httpx.Response]]


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    ends_at: float


class Authorizer:
    """Answers a remote's challenges; `clock` in seconds, `find` may read files and is called on a thread."""

    def __init__(
        self, host: str, *, find: Callable[[], Credential | None], send: Send, clock: Callable[[], float]
    ) -> None:
        self._host, self._find, self._send, self._clock = host, find, send, clock
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}
        self._guard = asyncio.Lock()
        self._credential: Credential | None = None
        self._is_asked = False

    def learn(self, headers: Iterable[str]) -> None:
        """Take the strongest challenge that we can answer: Bearer before Basic."""
        challenges = {challenge.scheme: challenge for challenge in reversed(parse_challenges(headers))}
        self._challenge = challenges.get("bearer") or challenges.get("basic") or self._challenge

    async def header(self, scope: str) -> str | None:
        """The Authorization for a scope, or several with blanks between; None where the remote asks for none, or we have none."""
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
        return f"Bearer {token.value}"

    def forget(self, scope: str) -> None:
        """Drop the scope's token, which the remote refused."""
        self._tokens.pop(scope, None)

    async def refusal(self) -> RemoteUnauthorized:
        """The error for a remote that refuses what we can give it."""
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
        realm = challenge.parameters.get("realm", "")
        url = _realm_url(realm, self._host)
        credential = await self._find_once()
        response = await self._send(_token_request(url, challenge, scope, credential))
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
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RemoteCorrupt("its token service sent no token", registry=self._host) from None
        return _Token(str(value), self._clock() + max(lifetime, _MARGIN + 1))


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
