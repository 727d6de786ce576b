"""Bearer tokens: JSON Web Tokens (RFC 7519) that this registry signs with ES256 and takes back.

Source: distribution project, "Token Authentication Implementation". What a token was given bounds what it may be used for; the
rules are asked again at each use, so that a right that is taken away is gone at once.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from catalog.access.policy import ACTIONS, Action, Caller, Grant, Policy, SigningKey
from oci.errors import NameInvalid, Unauthorized
from oci.reference import parse_name

SERVICE = "entrepot"
ALGORITHM = "ES256"
KEY_AGE = timedelta(days=90)
"""After this a token is signed by a new key; the old one is known until what it signed is over."""
REFRESH_AGE = timedelta(days=90)


class Scope(NamedTuple):
    """What a client asks a token for: one resource and actions on it."""

    kind: str
    name: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"


CATALOG = Scope("registry", "catalog", ("*",))


def parse_scope(text: str) -> Scope | None:
    """Read `repository:NAME:ACTION[,ACTION…]` or `registry:catalog:*`; None for a resource that nobody has here.

    A name may hold colons with a port in it only for other registries, so the last colon parts the actions.
    """
    head, _, actions = text.rpartition(":")
    kind, _, name = head.partition(":")
    wanted = tuple(dict.fromkeys(filter(None, actions.split(","))))
    if kind == "registry" and name == "catalog" and wanted:
        return CATALOG
    try:
        return Scope("repository", parse_name(name), wanted) if kind == "repository" and wanted else None
    except NameInvalid:
        return None


def wanted_actions(scope: Scope) -> Sequence[Action]:
    """Return the known actions of a repository scope; `*` is all of them."""
    return [action for action in ACTIONS if action in scope.actions or "*" in scope.actions]


class Bearer(NamedTuple):
    """A token that was verified: who asks with it, until when (seconds since 1970), and what must still hold."""

    caller: Caller
    expires: float
    stamp: str
    token: str
    key: str
    trust: str = ""

    def is_valid(self, policy: Policy, now: datetime) -> bool:
        """Return whether its account, and the token or trust that it was made by, are unchanged."""
        if now.timestamp() >= self.expires or all(key.id != self.key for key in policy.keys):
            return False
        if not self.caller.account:
            return True
        account = policy.accounts.get(self.caller.account)
        if account is None or account.disabled or account.stamp != self.stamp:
            return False
        if self.trust and self.trust not in policy.trusts_by_stamp:
            return False
        made_by = policy.tokens.get(self.token)
        return not self.token or (made_by is not None and not made_by.is_expired(now))


def make_key(now: datetime) -> SigningKey:
    """Make a new private key."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(id=secrets.token_hex(8), pem=pem.decode(), created_at=now)


def with_key(policy: Policy, now: datetime, *, rotate: bool = False) -> Policy:
    """Return the policy with a signing key: the last, or a new one if that is too old or `rotate` is set."""
    if policy.keys and not rotate and now - policy.keys[-1].created_at < KEY_AGE:
        return policy
    kept = [key for key in policy.keys if now - key.created_at < KEY_AGE + REFRESH_AGE + timedelta(days=1)]
    return policy.model_copy(update={"keys": (*kept, make_key(now))})


def needs_key(policy: Policy, now: datetime) -> bool:
    """Return whether `with_key` would make a key."""
    return not policy.keys or now - policy.keys[-1].created_at >= KEY_AGE


class Subject(NamedTuple):
    """For whom a token is made: an account as it is, and the token, or the stamp of the trust, that it logged in by."""

    account: str = ""
    stamp: str = ""
    token: str = ""
    grants: tuple[Grant, ...] | None = None
    trust: str = ""


def sign_token(
    key: SigningKey, subject: Subject, access: Iterable[Scope], *, now: datetime, lifetime: timedelta
) -> str:
    """Return a bearer token for what was granted."""
    entries = [{"type": scope.kind, "name": scope.name, "actions": list(scope.actions)} for scope in access]
    return _sign(key, subject, {"access": entries, "bounds": _bounds_json(subject)}, now=now, lifetime=lifetime)


def sign_refresh_token(key: SigningKey, subject: Subject, *, now: datetime) -> str:
    """Return a token that is good for further tokens only, until the password changes."""
    return _sign(key, subject, {"use": "refresh", "bounds": _bounds_json(subject)}, now=now, lifetime=REFRESH_AGE)


def sign_session(key: SigningKey, subject: Subject, *, now: datetime, lifetime: timedelta) -> str:
    """Return a token that is good for the web pages only, until it expires or the password changes."""
    return _sign(key, subject, {"use": "session", "bounds": _bounds_json(subject)}, now=now, lifetime=lifetime)


def _bounds_json(subject: Subject) -> list[object] | None:
    return [grant.model_dump(mode="json") for grant in subject.grants] if subject.grants else None


def _bounds(claims: Mapping[str, Any]) -> tuple[Grant, ...] | None:
    given = claims.get("bounds")
    return tuple(Grant.model_validate(one) for one in given) if given else None


def _sign(key: SigningKey, subject: Subject, more: Mapping[str, object], *, now: datetime, lifetime: timedelta) -> str:
    claims = {
        "iss": SERVICE,
        "aud": SERVICE,
        "sub": subject.account,
        "iat": now,
        "nbf": now - timedelta(seconds=60),
        "exp": now + lifetime,
        "jti": secrets.token_hex(16),
        "stamp": subject.stamp,
        "tok": subject.token,
        **({"trust": subject.trust} if subject.trust else {}),
        **more,
    }
    return jwt.encode(claims, key.pem, ALGORITHM, headers={"kid": key.id})


def read_token(policy: Policy, text: str, *, now: datetime) -> Bearer:
    """Verify a bearer token; raise Unauthorized. Some 100 microseconds, so remember what came of it."""
    claims, key = _read(policy, text, now)
    if claims.get("use") == "session":
        raise Unauthorized("invalid token: a session is good for the web pages only")
    if claims.get("use"):
        raise Unauthorized("invalid token: a refresh token is accepted at /token only")
    entries = claims.get("access", [])
    grants = tuple(
        Grant(actions=tuple(entry["actions"]), patterns=(entry["name"],))
        for entry in entries
        if entry["type"] == "repository" and entry["actions"]
    )
    lists = any(entry["type"] == CATALOG.kind for entry in entries)
    return _bearer(claims, Caller(claims["sub"], grants, _bounds(claims), lists), key)


def read_refresh_token(policy: Policy, text: str, *, now: datetime) -> tuple[Bearer, Subject]:
    """Verify a refresh token; raise Unauthorized."""
    claims, key = _read(policy, text, now)
    if claims.get("use") != "refresh":
        raise Unauthorized("this is no refresh token")
    grants = _bounds(claims)
    bearer = _bearer(claims, Caller(claims["sub"], grants), key)
    return bearer, Subject(claims["sub"], claims["stamp"], claims["tok"], grants, bearer.trust)


class PageSession(NamedTuple):
    """A login on the web pages: who it is, its own id, and since when it lasts, in seconds since 1970."""

    bearer: Bearer
    id: str
    began: float

    @property
    def caller(self) -> Caller:
        """Return the caller."""
        return self.bearer.caller


def read_session(policy: Policy, text: str, *, now: datetime) -> PageSession:
    """Verify a session's token; raise Unauthorized, also once its account or its login has changed."""
    claims, key = _read(policy, text, now)
    if claims.get("use") != "session":
        raise Unauthorized("this is no session")
    grants = _bounds(claims)
    caller = Caller(claims["sub"], grants, grants)
    bearer = _bearer(claims, caller, key)
    if not caller.account or not bearer.is_valid(policy, now):
        raise Unauthorized("the session is no longer valid: its account or its login has changed")
    return PageSession(bearer, str(claims["jti"]), float(claims["iat"]))


def _bearer(claims: Mapping[str, Any], caller: Caller, key: str) -> Bearer:
    trust = str(claims.get("trust", ""))  # tokens of earlier releases name none
    return Bearer(caller, float(claims["exp"]), claims["stamp"], claims["tok"], key, trust)


def _read(policy: Policy, text: str, now: datetime) -> tuple[dict[str, Any], str]:
    try:
        wanted = jwt.get_unverified_header(text).get("kid")
        key = next((one for one in policy.keys if one.id == wanted), None)
        if key is None:
            raise Unauthorized("the token was not made by this registry, or its key has been retired")
        claims: dict[str, Any] = jwt.decode(
            text,
            _public_key(key.pem),
            algorithms=[ALGORITHM],
            audience=SERVICE,
            issuer=SERVICE,
            options={
                "require": ["exp", "sub", "stamp", "tok"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        raise Unauthorized(f"the token cannot be used: {error}") from None
    if now.timestamp() >= float(claims["exp"]):
        raise Unauthorized("the token has expired")
    return claims, key.id


def _public_key(pem: str) -> ec.EllipticCurvePublicKey:
    private = serialization.load_pem_private_key(pem.encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private.public_key()
