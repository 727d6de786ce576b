"""Who asks, and whether they may: credentials become a caller, and the policy's rules decide on each request."""

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
from catalog.access.logins import Login, Logins
from catalog.access.policy import ANONYMOUS, NOBODY, Action, Caller, Decision, Grant, Policy, decide_access
from catalog.access.store import AccessStore
from catalog.audit import Event, Events
from catalog.distributions.records import Distribution
from catalog.settings import Settings
from oci.errors import Denied, Unauthorized
from registry_api.auth.login_checks import LoginChecks
from registry_api.auth.oidc_tokens import IDENTITY_USER, IdentityTokens
from registry_api.http.messages import find_header
from registry_api.http.threads import Threads
from registry_api.lru import Recent

CHANGES: frozenset[Action] = frozenset({"push", "delete", "admin"})
_REMEMBERED = 10_000


class Credentials(NamedTuple):
    """What an Authorization header says: a name and a secret, or a bearer token alone."""

    scheme: Literal["basic", "bearer"]
    username: str
    secret: str


def parse_authorization(header: bytes) -> Credentials | None:
    """Read an Authorization header; None for nobody. Raise Unauthorized for what is neither Basic nor Bearer (RFC 7617, 6750).

    Empty name and empty password are nobody: containers/image sends them when it has no login and sees a challenge.
    """
    scheme, _, token = header.strip().partition(b" ")
    match scheme.lower():
        case b"bearer":
            return Credentials("bearer", "", token.strip().decode("latin-1"))
        case b"basic":
            return _parse_basic(token)
    raise Unauthorized("this registry takes Basic and Bearer logins only")


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
    """The bearer token was not made for this; the client gets another by the challenge."""


class LoginNeeded(Unauthorized):
    """Nobody asks, and somebody might."""


class _Known(NamedTuple):
    """Who sent an Authorization header that was checked: true as long as the policy is the same, until a time if there is one."""

    policy: Policy
    until: datetime | None
    caller: Caller


def _end_of(policy: Policy, token: str) -> datetime | None:
    found = policy.tokens.get(token)
    return found.expires_at if found is not None else None


class Gate:
    """Tells from a request's credentials who asks, and whether they may do what they ask."""

    def __init__(
        self,
        access: AccessStore,
        events: Events,
        threads: Threads,
        now: Callable[[], datetime],
        identities: IdentityTokens,
    ) -> None:
        self.access, self.events, self._now = access, events, now
        self.identities = identities
        self._checks = LoginChecks(Logins(access, now), threads)
        self._key = secrets.token_bytes(32)
        self._known: Recent[bytes, _Known] = Recent(_REMEMBERED)

    # --- who ---

    async def identify(self, scope: Asgi) -> Caller:
        """Return who asks, NOBODY for one without credentials; raise Unauthorized for wrong ones."""
        header = find_header(scope, b"authorization")
        if header is None:
            return self._by_certificate(scope)
        policy, now = self.access.policy, self._now()
        key = hashlib.blake2b(header, key=self._key, digest_size=16).digest()
        known = self._known.get(key)
        if known is not None and known.policy is policy and (known.until is None or now < known.until):
            return known.caller
        credentials = parse_authorization(header)
        if credentials is None:
            return self._by_certificate(scope)
        if credentials.scheme == "bearer":
            made = self._by_bearer(policy, credentials.secret, now)
        else:
            subject = await self.log_in(credentials, address_of(scope))
            made = _Known(
                policy, _end_of(policy, subject.token), Caller(subject.account, subject.grants, subject.grants)
            )
            if credentials.username == IDENTITY_USER:  # their issuer says how long they are good
                return made.caller
        self._known.keep(key, made)
        return made.caller

    async def log_in(self, credentials: Credentials, address: str) -> Subject:
        """Check a name and a secret, or the identity token in its place; raise Unauthorized, which is an audit event, or
        TooManyRequests."""
        try:
            if credentials.username == IDENTITY_USER:
                return await self.identities.subject_of(self.access.policy, credentials.secret)
            login = await self._checks.verify(self.access.policy, credentials.username, credentials.secret, address)
            if login is None:
                raise Unauthorized("wrong user name or password")
        except Unauthorized as error:
            self._note(credentials.username[:80], "login", "", error.message, address)
            raise
        return subject_of(login)

    def _by_bearer(self, policy: Policy, token: str, now: datetime) -> "_Known":
        bearer = read_token(policy, token, now=now)
        if not bearer.is_valid(policy, now):
            raise Unauthorized("the token is not good any more: its account or what it was made by has changed")
        ends = datetime.fromtimestamp(bearer.expires, UTC)
        return _Known(policy, min(ends, _end_of(policy, bearer.token) or ends), bearer.caller)

    def _by_certificate(self, scope: Asgi) -> Caller:
        tls = scope.get("extensions", {}).get("tls")
        name = tls.get("client_cert_name") if tls else None
        if not name:
            return NOBODY
        for account in self.access.policy.accounts.values():
            if account.certificate == name and not account.disabled:
                return Caller(account.name)
        return NOBODY

    # --- whether ---

    def decide(self, caller: Caller, action: Action, name: str, *, public: bool) -> Decision:
        """Whether the caller may do something to a path."""
        return decide_access(self.access.policy, caller, action, name, public=public)

    def lets_anybody_change(self) -> bool:
        """Whether a rule lets nobody in particular do more than pull, somewhere."""
        return any(set(rule.grant.actions) != {"pull"} for rule in self.access.policy.rules_for(ANONYMOUS))

    def may_pull(self, caller: Caller, found: Distribution) -> bool:
        """Whether the caller may pull from a distribution; a cache's own path has nothing to pull."""
        return not found.remote and self.decide(caller, "pull", found.path, public=not found.private).allowed

    def check(self, caller: Caller, action: Action, name: str, *, public: bool, address: str) -> None:
        """Raise Unauthorized when a login, or another one, would help; Denied when the rules do not allow it.

        The answer is the same whether there is something of that name or not.
        """
        if public and action == "pull":
            return
        policy = self.access.policy
        if decide_access(policy, caller, action, name, public=False).allowed:
            return
        if caller.account == ANONYMOUS:
            raise LoginNeeded(f"{name} is not here, or not for everybody: {action} needs a login")
        if policy.decide(caller.account, action, name).allowed:
            raise ScopeMissing(f"the login is not good for {action} of {name}")
        self._note(caller.account, action, name, f"no rule lets {caller.account} {action} {name}", address)
        raise Denied(f"{caller.account} may not {action} {name}, or it is not here")

    def why_not_bring(self, caller: Caller, cache: Distribution, name: str) -> Unauthorized | Denied | None:
        """Why a caller who may pull below a cache may not bring what is not there yet.

        What counts is all that the login is good for, since clients ask for tokens that are good for pulls alone.
        """
        wanted = cache.cache.bring
        if wanted == "anyone":
            return None
        if caller.account == ANONYMOUS:
            return LoginNeeded(f"{name} is not here as asked for; to bring it from {cache.remote} takes a login")
        if wanted == "users" or self.decide(caller.unscoped, "push", name, public=False).allowed:
            return None
        return Denied(
            f"{caller.account} may pull what the cache {cache.path} has, and bring nothing new: no rule lets them push {name}"
        )

    def note_not_brought(self, caller: Caller, name: str, error: Denied, address: str) -> None:
        """Keep as an audit event that somebody asked for something new in a cache, and may not."""
        self._note(caller.account, "bring", name, error.message, address)

    def check_admin(self, caller: Caller, address: str, what: str) -> None:
        """Raise Unauthorized or Denied for whoever may not administer everything."""
        if caller.account == ANONYMOUS:
            raise LoginNeeded(f"{what} needs a login")
        if not is_administrator(self.access.policy, caller):
            self._note(caller.account, "admin", what, "not an administrator", address)
            raise Denied(f"{caller.account} is no administrator, so that {what} is not for them")

    def _note(self, actor: str, action: str, name: str, reason: str, address: str) -> None:
        self.events.note(Event(self._now(), actor, action, name, "refused", reason, address))


def own_mark(policy: Policy, settings: Settings) -> str:
    """What tells this installation from others, the same in all its processes: a hash of marks that are its own."""
    own = [f"{one.created_at} {one.stamp}" for one in policy.accounts.values()] or [
        f"{platform.node()} {settings.root}"
    ]
    return hashlib.blake2b(min(own).encode(), person=b"entrepot-via", digest_size=8).hexdigest()


def is_administrator(policy: Policy, caller: Caller) -> bool:
    """Whether a rule, and the login's scope, grant `admin` on everything."""

    def everything(grant: Grant) -> bool:
        return "admin" in grant.actions and "**" in grant.patterns

    by_rule = any(everything(rule.grant) for rule in policy.rules_for(caller.account))
    return by_rule and (caller.grants is None or any(map(everything, caller.grants)))


def subject_of(login: Login) -> Subject:
    """For whom a login gets bearer tokens."""
    token = login.token
    return Subject(login.account.name, login.account.stamp, token.id if token else "", login.caller.grants)


def address_of(scope: Asgi) -> str:
    """Where a request comes from, empty when that is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""
