"""Who may do what: accounts, groups, rules and tokens as values, and the pure rule that decides.

Nothing is allowed but what a rule allows, and pulls of what is public. A token narrows what its owner may do, never widens it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from catalog.path_patterns import PathGlob, matches, parse_path_glob
from oci.errors import InvalidInput

Action = Literal["pull", "push", "delete", "admin"]
ACTIONS: tuple[Action, ...] = ("pull", "push", "delete", "admin")
ANONYMOUS = ""
ANYONE, LOGGED_IN = "anyone", "users"
"""Subjects of rules: everybody, and everybody who has logged in."""

_ACCOUNT = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_SUBJECT = re.compile(rf"(?:(?:user|robot|group):{_ACCOUNT.pattern}|{ANYONE}|{LOGGED_IN})")


def parse_account(text: str) -> str:
    """Read the name of a user, robot or group; raise InvalidInput."""
    if not _ACCOUNT.fullmatch(text) or len(text) > 64:
        raise InvalidInput(
            f"invalid name {text[:80]!r}: expected at most 64 lower-case letters and digits, with . _ - between them"
        )
    return text


def parse_subject(text: str) -> str:
    """Read whom a rule is for; raise InvalidInput."""
    if not _SUBJECT.fullmatch(text):
        raise InvalidInput(
            f"invalid subject {text[:80]!r}: expected user:NAME, robot:NAME, group:NAME, {LOGGED_IN} or {ANYONE}"
        )
    return text


def parse_actions(text: str) -> tuple[Action, ...]:
    """Read actions separated by commas, in the order of ACTIONS; raise InvalidInput."""
    wanted = {part.strip() for part in text.split(",")}
    if not wanted <= set(ACTIONS):
        raise InvalidInput(f"invalid actions {text[:80]!r}: expected some of {', '.join(ACTIONS)}, separated by commas")
    return tuple(action for action in ACTIONS if action in wanted)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


ACCOUNT_PATTERN = f"^{_ACCOUNT.pattern}$"
Name = Annotated[
    str, AfterValidator(parse_account), Field(json_schema_extra={"pattern": ACCOUNT_PATTERN, "maxLength": 64})
]


class Grant(_Value):
    """Actions on paths; `admin` stands for all actions."""

    actions: tuple[Action, ...] = Field(min_length=1)
    patterns: tuple[PathGlob, ...] = Field(min_length=1)

    def allows(self, action: Action, name: str) -> bool:
        """Return whether the grant covers an action on a path."""
        return (action in self.actions or "admin" in self.actions) and any(matches(one, name) for one in self.patterns)

    def __str__(self) -> str:
        return f"{','.join(self.actions)}:{' '.join(self.patterns)}"


def parse_grant(text: str) -> Grant:
    """Read `ACTIONS:PATTERN[ PATTERN…]`, such as `pull,push:team/**`; raise InvalidInput."""
    actions, colon, patterns = text.partition(":")
    if not colon or not patterns.split():
        raise InvalidInput(f"invalid scope {text[:80]!r}: expected ACTIONS:PATTERN, such as pull,push:team/**")
    return Grant(actions=parse_actions(actions), patterns=tuple(parse_path_glob(one) for one in patterns.split()))


class Account(_Value):
    """A user, or a robot: one that has tokens only. `stamp` changes with the password, and ends the logins made by the old one.

    `certificate` is the subject (RFC 4514) of the client certificate that is a login of this account.
    """

    name: Name
    robot: bool = False
    password: str = Field(default="", repr=False)
    stamp: str = ""
    certificate: str = ""
    disabled: bool = False
    created_at: datetime

    @property
    def subject(self) -> str:
        """Return the subject by which rules name the account."""
        return f"{'robot' if self.robot else 'user'}:{self.name}"


class Token(_Value):
    """A secret that stands for its owner's password until it expires; `grants`, if any, are all it may be used for."""

    id: str
    owner: Name
    secret: str = Field(repr=False, description="SHA-256 of the secret, in hex.")
    grants: tuple[Grant, ...] = ()
    note: str = ""
    created_at: datetime
    expires_at: datetime | None = None

    def is_expired(self, now: datetime) -> bool:
        """Return whether the token has expired."""
        return self.expires_at is not None and now >= self.expires_at


class Rule(_Value):
    """Lets subjects do something."""

    id: str
    subjects: tuple[Annotated[str, AfterValidator(parse_subject)], ...] = Field(min_length=1)
    grant: Grant


class Trust(_Value):
    """Identity tokens (OpenID Connect) of an issuer, for an audience and with claims that fit, log in as an account."""

    name: Name
    issuer: str
    audience: str
    claims: Mapping[str, str] = Field(min_length=1, description="Claim → glob that its value must fit, `*` included.")
    account: Name
    grants: tuple[Grant, ...] = ()

    @cached_property
    def stamp(self) -> str:
        """Return what changes with the trust; it ends the logins made by the old one."""
        said = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:24]


class SigningKey(_Value):
    """A private key that signs bearer tokens, as PEM."""

    id: str
    pem: str = Field(repr=False)
    created_at: datetime


class Caller(NamedTuple):
    """Who asks: an account's name, empty for nobody. `grants` None: all that the account may.

    `bounds` are what the login itself is good for, of which a bearer token may have asked for a part; `lists`: it asked to list.
    """

    account: str = ANONYMOUS
    grants: tuple[Grant, ...] | None = None
    bounds: tuple[Grant, ...] | None = None
    lists: bool = False

    @property
    def unscoped(self) -> "Caller":
        """Return the same login for what no scope can name: lists over all paths, and blobs wherever they are."""
        return Caller(self.account, self.bounds, self.bounds)

    def with_past(self, asked: str, path: str) -> "Caller":
        """Return the same login, good for pulls from a path too if it is good for them by its path of time travel."""
        if self.grants is None or not any(grant.allows("pull", asked) for grant in self.grants):
            return self
        return self._replace(grants=(*self.grants, Grant(actions=("pull",), patterns=(path,))))

    def narrows(self, action: Action, name: str) -> bool:
        """Return whether the login's scope excludes an action, whatever its account may do."""
        return self.grants is not None and not any(grant.allows(action, name) for grant in self.grants)


NOBODY = Caller()


class Decision(NamedTuple):
    """Whether something is allowed, and what decided: a rule's id, or a reason in words."""

    allowed: bool
    reason: str


class Policy(_Value):
    """All that decides about access."""

    accounts: Mapping[str, Account] = Field(default_factory=dict)
    groups: Mapping[str, tuple[Name, ...]] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    tokens: Mapping[str, Token] = Field(default_factory=dict)
    trusts: tuple[Trust, ...] = ()
    keys: tuple[SigningKey, ...] = Field(default=(), repr=False)

    @cached_property
    def _groups_of(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for group, members in self.groups.items():
            for member in members:
                found.setdefault(member, set()).add(f"group:{group}")
        return {member: frozenset(groups) for member, groups in found.items()}

    @cached_property
    def trusts_by_stamp(self) -> Mapping[str, Trust]:
        """Return the trusts by what changes with each of them."""
        return {trust.stamp: trust for trust in self.trusts}

    @cached_property
    def _decided(self) -> dict[tuple[str, Action, str], Decision]:
        return {}

    def subjects_of(self, account: str) -> frozenset[str]:
        """Return the subjects by which rules may name an account: itself, its groups, `users`, `anyone`."""
        known = self.accounts.get(account)
        if known is None or known.disabled:
            return frozenset({ANYONE})
        return self._groups_of.get(account, frozenset()) | {known.subject, LOGGED_IN, ANYONE}

    def rules_for(self, account: str) -> Iterable[Rule]:
        """Return the rules that name an account, by whatever subject."""
        subjects = self.subjects_of(account)
        return [rule for rule in self.rules if not subjects.isdisjoint(rule.subjects)]

    def decide(self, account: str, action: Action, name: str) -> Decision:
        """Return whether rules allow an account an action on a path."""
        key = (account, action, name)
        found = self._decided.get(key)
        if found is None:
            if len(self._decided) > _REMEMBERED:
                self._decided.clear()
            found = self._decided[key] = self._decide(account, action, name)
        return found

    def _decide(self, account: str, action: Action, name: str) -> Decision:
        for rule in self.rules_for(account):
            if rule.grant.allows(action, name):
                return Decision(allowed=True, reason=f"rule {rule.id}: {' '.join(rule.subjects)} may {rule.grant}")
        known = self.accounts.get(account)
        if known is not None and known.disabled:
            return Decision(allowed=False, reason=f"account {account} is disabled")
        if known is None and account != ANONYMOUS:
            return Decision(allowed=False, reason=f"there is no account {account}")
        who = account or "an anonymous caller"
        return Decision(allowed=False, reason=f"no rule lets {who} {action} {name}")


_REMEMBERED = 50_000


def decide_access(policy: Policy, caller: Caller, action: Action, name: str, *, public: bool) -> Decision:
    """Return whether a caller may act on a path; `public` says that anybody may pull there."""
    if public and action == "pull":
        return Decision(allowed=True, reason="the distribution is public")
    decided = policy.decide(caller.account, action, name)
    if decided.allowed and caller.narrows(action, name):
        return Decision(allowed=False, reason=f"the login's scope does not cover {action} of {name}")
    return decided
