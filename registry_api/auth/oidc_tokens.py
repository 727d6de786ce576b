"""OpenID Connect identity tokens as logins: a CI system's token is verified with its issuer's keys and our trusts.

Source: OpenID Connect Discovery 1.0 and RFC 7517 for the keys, RFC 8693 for the exchange at /token.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import jwt

from catalog.access.bearer_tokens import Subject
from catalog.access.policy import Policy, Trust
from oci.errors import RemoteUnavailable, Unauthorized

if TYPE_CHECKING:
    import httpx

IDENTITY_USER = "oidc"
"""The user name of a login whose password is an identity token."""

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_FRESH = 3600.0
"""Seconds for which an issuer's keys are cached."""
_RETRY_AFTER = 30.0
"""Seconds after which an unknown key leads to an earlier request; a failed request is not repeated before, either."""
_LEEWAY = 60


class _Keys(NamedTuple):
    by_id: Mapping[str, jwt.PyJWK]
    asked_at: float


class Wanted(NamedTuple):
    """The one login that a token must be made for. Source: OpenID Connect Core 1.0, 3.1.3.7."""

    issuer: str
    audience: str
    nonce: str

    def mismatch(self, claims: Mapping[str, object]) -> str:
        """Return which claim is of another login; empty when none is."""
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), self.nonce.encode()):
            return "claim nonce is of another login"
        audiences = claims.get("aud")
        is_shared = isinstance(audiences, list) and len(audiences) > 1
        if claims.get("azp", None if is_shared else self.audience) != self.audience:
            return "claim azp names another client"
        return ""


class IdentityTokens:
    """Verifies identity tokens; caches the issuers' keys, and requests them once however many logins wait.

    `internal` are hosts of our network that may serve issuers' keys.
    """

    def __init__(
        self,
        client: "Callable[[], httpx.AsyncClient]",
        *,
        internal: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_client, self._internal, self._clock = client, tuple(internal), clock
        self._keys: dict[str, _Keys] = {}
        self._failed_at: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def subject_of(self, policy: Policy, token: str, wanted: "Wanted | None" = None) -> Subject:
        """Return whom a token stands for; raise Unauthorized when no trust matches, RemoteUnavailable without keys.

        With `wanted` only the trusts of one issuer and audience count, and the token must be made for one login.
        """
        try:
            header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise Unauthorized(f"invalid identity token: {error}") from None
        trusts = [trust for trust in policy.trusts if trust.issuer == claims.get("iss")]
        if wanted is not None:
            trusts = [one for one in trusts if (one.issuer, one.audience) == (wanted.issuer, wanted.audience)]
        if not trusts:
            raise Unauthorized("no trust for the issuer of this identity token")
        key = await self._key(trusts[0].issuer, str(header.get("kid", "")))
        reasons = []
        for trust in trusts:
            verified = _verify(trust, token, key)
            reason = verified if isinstance(verified, str) else mismatch(trust, verified)
            if not reason and wanted is not None and not isinstance(verified, str):
                reason = wanted.mismatch(verified)
            account = policy.accounts.get(trust.account)
            if not reason and account is not None and not account.disabled:
                return Subject(account.name, account.stamp, "", trust.grants or None, trust.stamp)
            reasons.append(f"{trust.name}: {reason or 'its account is missing or disabled'}")
        raise Unauthorized(f"the identity token matches no trust ({'; '.join(reasons)})")

    async def _key(self, issuer: str, key_id: str) -> jwt.PyJWK:
        async with self._asking.setdefault(issuer, asyncio.Lock()):
            known = self._keys.get(issuer)
            now = self._clock()
            age = now - known.asked_at if known else float("inf")
            if age > _FRESH or (known is not None and key_id not in known.by_id and age > _RETRY_AFTER):
                try:
                    self._check_rested(issuer, now)
                    known = self._keys[issuer] = _Keys(await self._request_keys(issuer), now)
                except RemoteUnavailable:
                    self._failed_at.setdefault(issuer, now)
                    if known is None or key_id not in known.by_id:
                        raise
            if known is None or key_id not in known.by_id:
                raise Unauthorized("the issuer of this identity token has no such key")
            return known.by_id[key_id]

    async def _request_keys(self, issuer: str) -> Mapping[str, jwt.PyJWK]:
        await asyncio.to_thread(_load)
        from registry_api.auth.issuer_keys import request_keys  # loaded by the thread

        return await request_keys(self._make_client, issuer, self._internal)

    def _check_rested(self, issuer: str, now: float) -> None:
        if now - self._failed_at.get(issuer, -_RETRY_AFTER) < _RETRY_AFTER:
            raise RemoteUnavailable("a request for its keys failed a moment ago", registry=issuer)
        self._failed_at.pop(issuer, None)


def _load() -> None:
    """Load the HTTP client, on a thread: a registry that trusts no issuer saves it."""
    import registry_api.auth.issuer_keys  # noqa: F401  # for what it loads


def _verify(trust: Trust, token: str, key: jwt.PyJWK) -> Mapping[str, object] | str:
    """Return the claims, or why the token is invalid for this trust."""
    try:
        claims: dict[str, object] = jwt.decode(
            token,
            key,
            algorithms=list(_ALGORITHMS),
            audience=trust.audience,
            issuer=trust.issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )
    except (jwt.PyJWTError, TypeError) as error:
        return str(error)
    return claims


def mismatch(trust: Trust, claims: Mapping[str, object]) -> str:
    """Return which claim does not match a trust; empty when all do."""
    for name, pattern in trust.claims.items():
        value = claims.get(name)
        texts = [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]
        if not any(fnmatchcase(text, pattern) for text in texts):
            return f"claim {name} does not match {pattern}"
    return ""
