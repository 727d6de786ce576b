"""Access control: credentials become a caller, and the policy's rules decide on each request."""

import base64
import binascii
import hashlib
import platform
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from starlette.types import Scope as Asgi

from catalog.access.bearer_tokens import Subject, read_token
from catalog.access.login_attempts import LoginAttempts
from catalog.access.logins import Login, Logins
from catalog.access.policy import ANONYMOUS, NOBODY, Action, Caller, Decision, Grant, Policy, decide_access
from catalog.access.store import AccessStore
from catalog.audit import Event, Events
from catalog.distributions.records import Distribution
from catalog.settings import Settings
from oci.errors import Denied, Unauthorized
from registry_api.auth.login_checks import LoginChecks
from registry_api.auth.oidc_tokens import IDENTITY_USER, IdentityTokens, Wanted
from registry_api.bounded_cache import BoundedCache
from registry_api.http.eager import enter_task
from registry_api.http.messages import find_header
from registry_api.http.threads import Threads

CHANGES: frozenset[Action] = frozenset({"push", "delete", "admin"})
_REMEMBERED = 10_000


class Credentials(NamedTuple):
    """The credentials of an Authorization header: a name and a secret, or a bearer token alone."""

    scheme: Literal["basic", "bearer"]
    username: str
    secret: str


def parse_authorization(header: bytes) -> Credentials | None:
    """Return the credentials of an Authorization header, None for an anonymous one (RFC 7617, 6750).

    An empty name with an empty password is anonymous: containers/image sends it when it has no login and sees a challenge.
    Raises Unauthorized for a scheme other than Basic and Bearer.
    """
    scheme, _, token = header.strip().partition(b" ")
    match scheme.lower():
        case b"bearer":
            return Credentials("bearer", "", token.strip().decode("latin-1"))
        case b"basic":
            return _parse_basic(token)
    raise Unauthorized("invalid Authorization header: expected Basic or Bearer")


def _parse_basic(token: bytes) -> Credentials | None:
    try:
        text = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized("the Authorization header is not HTTP Basic") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise Unauthorized("the Authorization header is not HTTP Basic")
    return Credentials("basic", username, password) if username or password else None


class ScopeMissing(Unauthorized):
    """The bearer token lacks the scope; the challenge leads the client to another one."""


class LoginNeeded(Unauthorized):
    """The request is anonymous; logging in might grant access."""


class _Verified(NamedTuple):
    """The caller of an Authorization header that was checked: valid while the policy is the same, and until a time if any."""

    policy: Policy
    until: datetime | None
    caller: Caller


def _end_of(policy: Policy, token: str) -> datetime | None:
    record = policy.tokens.get(token)
    return record.expires_at if record is not None else None


class AccessController:
    """Identifies the caller of a request, and decides what that caller may do."""

    def __init__(
        self,
        access: AccessStore,
        events: Events,
        threads: Threads,
        now: Callable[[], datetime],
        identities: IdentityTokens,
        attempts: LoginAttempts | None = None,
    ) -> None:
        """`attempts` are those that all machines count together."""
        self.store, self.events, self._now = access, events, now
        self.identities = identities
        self._checks = LoginChecks(Logins(access, now), threads, attempts)
        self._key = secrets.token_bytes(32)
        self._known: BoundedCache[bytes, _Verified] = BoundedCache(_REMEMBERED)

    # --- identity ---

    async def identify(self, scope: Asgi) -> Caller:
        """Return the caller, NOBODY without credentials; raise Unauthorized for wrong ones."""
        header = find_header(scope, b"authorization")
        if header is None:
            return self._by_certificate(scope)
        policy, now = self.store.policy, self._now()
        key = hashlib.blake2b(header, key=self._key, digest_size=16).digest()
        known = self._known.get(key)
        if known is not None and known.policy is policy and (known.until is None or now < known.until):
            return known.caller
        credentials = parse_authorization(header)
        if credentials is None:
            return self._by_certificate(scope)
        if credentials.scheme == "bearer":
            verified = self._by_bearer(policy, credentials.secret, now)
        else:
            subject = await self.log_in(credentials, address_of(scope))
            verified = _Verified(
                policy, _end_of(policy, subject.token), Caller(subject.account, subject.grants, subject.grants)
            )
            if credentials.username == IDENTITY_USER:  # the issuer defines how long they are valid
                return verified.caller
        self._known.put(key, verified)
        return verified.caller

    async def log_in(self, credentials: Credentials, address: str) -> Subject:
        """Return whom a name and a secret, or an identity token, stand for; raise Unauthorized, which is an audit event, or
        TooManyRequests."""
        await enter_task()
        try:
            if credentials.username == IDENTITY_USER:
                return await self.identities.subject_of(self.store.policy, credentials.secret)
            login = await self._checks.verify(self.store.policy, credentials.username, credentials.secret, address)
            if login is None:
                raise Unauthorized("wrong user name or password")
        except Unauthorized as error:
            self._note(credentials.username[:80], "login", "", error.message, address)
            raise
        return subject_of(login)

    async def log_in_by_issuer(self, token: str, wanted: Wanted, address: str) -> Subject:
        """Return whom an identity token stands for that an issuer gave for one login; raise Unauthorized, which is an audit
        event that says why, or RemoteUnavailable."""
        try:
            return await self.identities.subject_of(self.store.policy, token, wanted)
        except Unauthorized as error:
            self._note(IDENTITY_USER, "login", "", error.message, address)
            raise Unauthorized("this login is of no account here; ask an administrator") from None

    def _by_bearer(self, policy: Policy, token: str, now: datetime) -> "_Verified":
        bearer = read_token(policy, token, now=now)
        if not bearer.is_valid(policy, now):
            raise Unauthorized("the token is no longer valid: its account or its login has changed")
        ends = datetime.fromtimestamp(bearer.expires, UTC)
        return _Verified(policy, min(ends, _end_of(policy, bearer.token) or ends), bearer.caller)

    def _by_certificate(self, scope: Asgi) -> Caller:
        tls = scope.get("extensions", {}).get("tls")
        name = tls.get("client_cert_name") if tls else None
        if not name:
            return NOBODY
        for account in self.store.policy.accounts.values():
            if account.certificate == name and not account.disabled:
                return Caller(account.name)
        return NOBODY

    # --- decisions ---

    def decide(self, caller: Caller, action: Action, name: str, *, public: bool) -> Decision:
        """Return whether the caller may do something to a path, and why."""
        return decide_access(self.store.policy, caller, action, name, public=public)

    def allows_anonymous_changes(self) -> bool:
        """Return whether a rule allows anonymous callers more than pull, somewhere."""
        return any(set(rule.grant.actions) != {"pull"} for rule in self.store.policy.rules_for(ANONYMOUS))

    def may_pull(self, caller: Caller, distribution: Distribution) -> bool:
        """Return whether the caller may pull from a distribution; a cache's own path has nothing to pull."""
        is_public = not distribution.private
        return not distribution.remote and self.decide(caller, "pull", distribution.path, public=is_public).allowed

    def check(self, caller: Caller, action: Action, name: str, *, public: bool, address: str) -> None:
        """Raise Unauthorized when a login, or another one, might help; Denied when the rules do not allow it.

        The response is the same whether the name exists or not.
        """
        if public and action == "pull":
            return
        policy = self.store.policy
        if decide_access(policy, caller, action, name, public=False).allowed:
            return
        if caller.account == ANONYMOUS:
            raise LoginNeeded(f"authentication required to {action} {name}: it does not exist, or it is private")
        if policy.decide(caller.account, action, name).allowed:
            raise ScopeMissing(f"the token's scope does not allow to {action} {name}")
        self._note(caller.account, action, name, f"no rule lets {caller.account} {action} {name}", address)
        raise Denied(f"{caller.account} may not {action} {name}, or it does not exist")

    def denial_of_fetch(self, caller: Caller, cache: Distribution, name: str) -> Unauthorized | Denied | None:
        """Return why a caller who may pull below a cache may not fetch what it does not have yet; None where they may.

        All rights of the login count, since clients request tokens whose scope is pull alone.
        """
        allowed = cache.cache.bring
        if allowed == "anyone":
            return None
        if caller.account == ANONYMOUS:
            return LoginNeeded(
                f"{name} does not have this yet; authentication required to fetch it from {cache.remote}"
            )
        if allowed == "users" or self.decide(caller.unscoped, "push", name, public=False).allowed:
            return None
        return Denied(
            f"{caller.account} may pull what the cache {cache.path} has, but not fetch new content: no rule lets them push {name}"
        )

    def note_fetch_denied(self, caller: Caller, name: str, error: Denied, address: str) -> None:
        """Note as an audit event that a caller requested new content of a cache without the right to fetch it."""
        self._note(caller.account, "bring", name, error.message, address)

    def check_admin(self, caller: Caller, address: str, subject: str) -> None:
        """Raise Unauthorized or Denied unless the caller administers everything."""
        if caller.account == ANONYMOUS:
            raise LoginNeeded(f"authentication required for {subject}")
        if not is_administrator(self.store.policy, caller):
            self._note(caller.account, "admin", subject, "not an administrator", address)
            raise Denied(f"{caller.account} is not an administrator, which {subject} requires")

    def _note(self, actor: str, action: str, name: str, reason: str, address: str) -> None:
        self.events.note(Event(self._now(), actor, action, name, "refused", reason, address))


def installation_mark(policy: Policy, settings: Settings) -> str:
    """Return a mark that distinguishes this installation from others, the same in all its processes."""
    own = [f"{account.created_at} {account.stamp}" for account in policy.accounts.values()] or [
        f"{platform.node()} {settings.root}"
    ]
    return hashlib.blake2b(min(own).encode(), person=b"entrepot-via", digest_size=8).hexdigest()


def is_administrator(policy: Policy, caller: Caller) -> bool:
    """Return whether a rule, and the login's scope, grant `admin` on everything."""

    def everything(grant: Grant) -> bool:
        return "admin" in grant.actions and "**" in grant.patterns

    by_rule = any(everything(rule.grant) for rule in policy.rules_for(caller.account))
    return by_rule and (caller.grants is None or any(map(everything, caller.grants)))


def subject_of(login: Login) -> Subject:
    """Return the subject of a login's bearer tokens."""
    token = login.token
    return Subject(login.account.name, login.account.stamp, token.id if token else "", login.caller.grants)


def address_of(scope: Asgi) -> str:
    """Return the address that a request comes from, empty when unknown."""
    client = scope.get("client")
    return str(client[0]) if client else ""
