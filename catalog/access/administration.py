"""Administration of accounts, groups, rules and tokens: pure changes of the policy, each an audit event."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from catalog.access.bearer_tokens import with_key
from catalog.access.logins import TOKEN_PREFIX, hash_secret
from catalog.access.policy import Account, Grant, Policy, Rule, SigningKey, Token, Trust
from catalog.access.store import AccessStore, hash_password, make_secret
from catalog.audit import Event, Events
from oci.errors import AccountUnknown, Conflict, InvalidInput

_Value = TypeVar("_Value")


class MadeToken(NamedTuple):
    """A new token and its secret, which is shown once and kept nowhere."""

    token: Token
    secret: str


class Administration:
    """Changes who may do what, in the name of `actor`; every change is an audit event."""

    def __init__(
        self, access: AccessStore, events: Events, *, actor: str, now: Callable[[], datetime], address: str = ""
    ) -> None:
        self._access, self._events, self._actor, self._now, self._address = access, events, actor, now, address

    @property
    def policy(self) -> Policy:
        """Return the policy in force."""
        return self._access.policy

    def _apply(self, action: str, name: str, change: Callable[[Policy], Policy], **detail: object) -> Policy:
        made = self._access.update(change)
        self._events.record([Event(self._now(), self._actor, action, name, address=self._address, detail=detail)])
        return made

    # --- users and robots ---

    def add_account(self, name: str, *, password: str | None, certificate: str = "", disabled: bool = False) -> Account:
        """Make a user, or a robot when there is no password; raise Conflict for a name that exists."""
        hashed = hash_password(check_password(password)) if password is not None else ""
        made = Account(
            name=name,
            robot=password is None,
            password=hashed,
            stamp=make_secret(),
            certificate=certificate,
            disabled=disabled,
            created_at=self._now(),
        )

        def change(policy: Policy) -> Policy:
            if name in policy.accounts:
                raise Conflict(f"there is an account {name} already")
            _check_certificate(policy, made)
            return _with_account(without_account(policy, name), made)

        self._apply("create-robot" if made.robot else "create-user", name, change)
        return made

    def change_account(
        self,
        name: str,
        *,
        password: str | None = None,
        certificate: str | None = None,
        disabled: bool | None = None,
    ) -> Account:
        """Change an account; a new password or being disabled ends its logins. Raise AccountUnknown."""
        hashed = hash_password(check_password(password)) if password is not None else None

        def change(policy: Policy) -> Policy:
            account = find_account(policy, name)
            if hashed and account.robot:
                raise InvalidInput(f"{name} is a robot, which has tokens and no password")
            fields: dict[str, object] = {}
            if hashed:
                fields |= {"password": hashed, "stamp": make_secret()}
            if certificate is not None:
                fields["certificate"] = certificate
            if disabled is not None:
                fields["disabled"] = disabled
            changed = account.model_copy(update=fields)
            _check_certificate(policy, changed)
            return _with_account(policy, changed)

        what = [
            key
            for key, value in (("password", password), ("certificate", certificate), ("disabled", disabled))
            if value is not None
        ]
        return self._apply("change-account", name, change, changed=what).accounts[name]

    def remove_account(self, name: str) -> None:
        """Remove an account with its tokens, memberships, trusts and rules. Raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            find_account(policy, name)
            return without_account(policy, name)

        self._apply("delete-account", name, change)

    # --- groups ---

    def set_group(self, name: str, members: Sequence[str]) -> None:
        """Make a group of these members, in place of those it had; raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            for member in members:
                find_account(policy, member)
            if name not in policy.groups:  # rules of a group of that name that was removed by an older release
                policy = _without_subjects(policy, {f"group:{name}"})
            return policy.model_copy(update={"groups": {**policy.groups, name: tuple(dict.fromkeys(members))}})

        self._apply("set-group", name, change, members=list(members))

    def remove_group(self, name: str) -> None:
        """Remove a group with its rules; raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            if name not in policy.groups:
                raise AccountUnknown(f"there is no group {name}")
            left = _without_subjects(policy, {f"group:{name}"})
            return left.model_copy(update={"groups": _without(policy.groups, name)})

        self._apply("delete-group", name, change)

    # --- rules ---

    def add_rule(self, subjects: Sequence[str], grant: Grant, *, rule_id: str = "") -> Rule:
        """Grant something to subjects, by default under a random id.

        Raises AccountUnknown for an unknown user, robot or group, Conflict for an id that is taken.
        """
        made = Rule(id=rule_id or secrets.token_hex(4), subjects=tuple(subjects), grant=grant)

        def change(policy: Policy) -> Policy:
            _check_subjects(policy, made.subjects)
            if any(rule.id == made.id for rule in policy.rules):
                raise Conflict(f"there is a rule {made.id} already")
            return policy.model_copy(update={"rules": (*policy.rules, made)})

        self._apply("add-rule", made.id, change, subjects=list(subjects), grant=str(grant))
        return made

    def change_rule(self, rule_id: str, subjects: Sequence[str], grant: Grant) -> Rule:
        """Put another rule in the place of the one of that id, at one moment; raise AccountUnknown."""
        made = Rule(id=rule_id, subjects=tuple(subjects), grant=grant)

        def change(policy: Policy) -> Policy:
            _check_subjects(policy, made.subjects)
            if all(rule.id != rule_id for rule in policy.rules):
                raise AccountUnknown(f"there is no rule {rule_id}")
            return policy.model_copy(
                update={"rules": tuple(made if rule.id == rule_id else rule for rule in policy.rules)}
            )

        self._apply("change-rule", rule_id, change, subjects=list(subjects), grant=str(grant))
        return made

    def remove_rule(self, rule_id: str) -> None:
        """Remove a rule; raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            if all(rule.id != rule_id for rule in policy.rules):
                raise AccountUnknown(f"there is no rule {rule_id}")
            return policy.model_copy(update={"rules": tuple(rule for rule in policy.rules if rule.id != rule_id)})

        self._apply("remove-rule", rule_id, change)

    # --- tokens ---

    def add_token(
        self, owner: str, *, grants: Sequence[Grant] = (), lifetime: timedelta | None = None, note: str = ""
    ) -> MadeToken:
        """Make a token that stands for its owner's password, for `grants` alone if there are any; raise AccountUnknown."""
        now = self._now()
        token_id = secrets.token_hex(6)
        secret = f"{TOKEN_PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        made = Token(
            id=token_id,
            owner=owner,
            secret=hash_secret(secret),
            grants=tuple(grants),
            note=note,
            created_at=now,
            expires_at=now + lifetime if lifetime is not None else None,
        )

        def change(policy: Policy) -> Policy:
            find_account(policy, owner)
            return policy.model_copy(update={"tokens": {**policy.tokens, token_id: made}})

        self._apply("create-token", owner, change, token=token_id, scopes=[str(grant) for grant in grants])
        return MadeToken(made, secret)

    def revoke_token(self, token_id: str) -> None:
        """Make a token worthless at once, with the bearer tokens got by it; raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            if token_id not in policy.tokens:
                raise AccountUnknown(f"there is no token {token_id}")
            return policy.model_copy(update={"tokens": _without(policy.tokens, token_id)})

        self._apply("revoke-token", token_id, change)

    # --- identity tokens of others ---

    def add_trust(self, made: Trust) -> None:
        """Accept identity tokens of an issuer as logins; raise Conflict for a name that is taken, AccountUnknown."""

        def change(policy: Policy) -> Policy:
            if any(trust.name == made.name for trust in policy.trusts):
                raise Conflict(f"there is a trust {made.name} already")
            find_account(policy, made.account)
            return policy.model_copy(update={"trusts": (*policy.trusts, made)})

        self._apply("add-trust", made.name, change, issuer=made.issuer, account=made.account)

    def change_trust(self, made: Trust) -> None:
        """Put a trust in the place of the one of its name, at one moment; raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            if all(trust.name != made.name for trust in policy.trusts):
                raise AccountUnknown(f"there is no trust {made.name}")
            find_account(policy, made.account)
            trusts = tuple(made if trust.name == made.name else trust for trust in policy.trusts)
            return policy.model_copy(update={"trusts": trusts})

        self._apply("change-trust", made.name, change, issuer=made.issuer, account=made.account)

    def remove_trust(self, name: str) -> None:
        """Remove a trust; raise AccountUnknown."""

        def change(policy: Policy) -> Policy:
            if all(trust.name != name for trust in policy.trusts):
                raise AccountUnknown(f"there is no trust {name}")
            return policy.model_copy(update={"trusts": tuple(one for one in policy.trusts if one.name != name)})

        self._apply("remove-trust", name, change)

    # --- keys ---

    def rotate_key(self, *, retire: bool = False) -> SigningKey:
        """Sign bearer tokens by a new key; `retire` forgets the older ones, and so ends every token they signed."""

        def change(policy: Policy) -> Policy:
            rotated = with_key(policy, self._now(), rotate=True)
            return rotated.model_copy(update={"keys": rotated.keys[-1:]}) if retire else rotated

        return self._apply("rotate-key", "", change, retired=retire).keys[-1]


def without_account(policy: Policy, name: str) -> Policy:
    """Return the policy without an account and all that names it: a later account of that name inherits nothing."""
    left = _without_subjects(policy, {f"user:{name}", f"robot:{name}"})
    return left.model_copy(
        update={
            "accounts": _without(policy.accounts, name),
            "groups": {group: tuple(one for one in members if one != name) for group, members in policy.groups.items()},
            "tokens": {key: token for key, token in policy.tokens.items() if token.owner != name},
            "trusts": tuple(trust for trust in policy.trusts if trust.account != name),
        }
    )


def _without_subjects(policy: Policy, gone: AbstractSet[str]) -> Policy:
    """Return the policy without these subjects in its rules; rules without a subject go."""
    rules = []
    for rule in policy.rules:
        subjects = tuple(subject for subject in rule.subjects if subject not in gone)
        if subjects:
            rules.append(rule.model_copy(update={"subjects": subjects}))
    return policy.model_copy(update={"rules": tuple(rules)})


def find_account(policy: Policy, name: str) -> Account:
    """Return an account by name; raise AccountUnknown."""
    account = policy.accounts.get(name)
    if account is None:
        raise AccountUnknown(f"there is no user or robot {name[:80]}")
    return account


def check_password(password: str) -> str:
    """Return a password that an account may have; raise InvalidInput, which does not repeat it."""
    if len(password) < _SHORTEST:
        raise InvalidInput(f"the password has {len(password)} characters; {_SHORTEST} at least")
    if password.startswith(TOKEN_PREFIX):
        raise InvalidInput(f"a password cannot begin with {TOKEN_PREFIX}: tokens do")
    return password


_SHORTEST = 8


def _with_account(policy: Policy, account: Account) -> Policy:
    return policy.model_copy(update={"accounts": {**policy.accounts, account.name: account}})


def _without(found: Mapping[str, _Value], name: str) -> dict[str, _Value]:
    return {key: value for key, value in found.items() if key != name}


def _check_certificate(policy: Policy, made: Account) -> None:
    for other in policy.accounts.values():
        if made.certificate and other.name != made.name and other.certificate == made.certificate:
            raise Conflict(f"the certificate {made.certificate} is a login of {other.name} already")


def _check_subjects(policy: Policy, subjects: Iterable[str]) -> None:
    for subject in subjects:
        kind, _, name = subject.partition(":")
        if kind == "group" and name not in policy.groups:
            raise AccountUnknown(f"there is no group {name}")
        if kind in {"user", "robot"}:
            account = find_account(policy, name)
            if account.subject != subject:
                raise AccountUnknown(f"{name} is not a {kind}; write {account.subject}")
