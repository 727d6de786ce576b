"""Checks of a file against what is there: references, secrets, and things that exclude each other; nothing is changed.

Each fault has the place of the entry; all are found in one go. What the file leaves out counts as there unless pruning removes
it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from catalog.desired_state.entries import (
    CacheEntry,
    DistributionEntry,
    GroupEntry,
    HoldEntry,
    HookEntry,
    LifecycleEntry,
    PolicyGateEntry,
    QuotaEntry,
    RemoteEntry,
    RuleEntry,
    SubscriptionEntry,
    TrustEntry,
    UserEntry,
)
from catalog.desired_state.plan import Address
from catalog.holds.rules import check_rule
from catalog.policy.document import TrustPolicy, make_policy
from cli.configuration.apply_context import CurrentState
from cli.configuration.desired_entries import DesiredEntry
from cli.configuration.document import Place
from cli.configuration.records import (
    hold_rule,
    hook_fields,
    lifecycle_rule,
    quota_of,
    remote_record,
    subscription_fields,
    trust_of,
)
from oci.errors import EntrepotError, InvalidInput

if TYPE_CHECKING:
    from flows.schedules.entries import DeploymentEntry

MIN_SECRET = 16
Found = tuple[Place, str]
"""Where something is wrong, and what."""


class ExpectedState:
    """What there will be: the file's entries, faulty ones too, and what is there and stays."""

    def __init__(
        self, desired: Sequence[DesiredEntry], named: Collection[Address], seen: CurrentState, gone: Collection[Address]
    ) -> None:
        self.desired, self.seen, self.gone = desired, seen, frozenset(gone)
        self._known: dict[str, set[str]] = {}
        for kind, key in [
            *named,
            *(wanted.address for wanted in desired),
            *(one for one in seen.items if one not in gone),
        ]:
            self._known.setdefault(kind, set()).add(key)
        self.robots = {name: one.robot for name, one in seen.state.policy.accounts.items()}
        self.robots |= {one.key: one.entry.robot for one in desired if isinstance(one.entry, UserEntry)}

    def has(self, kind: str, key: str) -> bool:
        """Return whether there will be such a thing."""
        return key in self._known.get(kind, ())

    def all(self, kind: str) -> Collection[str]:
        """Return the keys of a kind that there will be."""
        return self._known.get(kind, ())

    def is_new(self, wanted: DesiredEntry) -> bool:
        """Return whether the entry's thing is not there yet."""
        return wanted.address not in self.seen.items


def check_desired_entries(known: ExpectedState, *, has_version: Callable[[str, int], bool]) -> Iterator[Found]:
    """Yield everything that would fail, or that contradicts itself."""
    first: dict[Address, DesiredEntry] = {}
    for wanted in known.desired:
        if wanted.address in first:
            yield wanted.place, f"is the same item as {first[wanted.address].place[-1]!r}; keep one of them"
        first.setdefault(wanted.address, wanted)
        yield from ((wanted.place, text) for text in _check(wanted, known, has_version))
    yield from _check_certificates(known)


def _check(wanted: DesiredEntry, known: ExpectedState, has_version: Callable[[str, int], bool]) -> Iterator[str]:
    if wanted.fault and known.is_new(wanted):
        yield wanted.fault
    try:
        match wanted.entry:
            case RemoteEntry() as remote:
                _check_remote(wanted.key, remote)
            case DistributionEntry() as distribution:
                yield from _check_distribution(wanted.key, distribution, known, has_version)
            case CacheEntry() as cache:
                yield from _check_cache(wanted.key, cache, known)
            case UserEntry() as user:
                yield from _check_user(wanted, user, known)
            case GroupEntry() as group:
                yield from (_no_account(name) for name in group.members if not known.has("users", name))
            case RuleEntry() as rule:
                yield from _check_subjects(rule, known)
            case TrustEntry() as trust:
                trust_of(wanted.key, trust)
                if not known.has("users", trust.account):
                    yield _no_account(trust.account)
            case QuotaEntry() as quota:
                from catalog.quotas.quotas import check_quota

                check_quota(quota_of(wanted.key, quota))
            case HoldEntry() as hold:
                check_rule(hold_rule(wanted.key, hold, datetime.now(UTC)))
            case PolicyGateEntry() as gate:
                if not known.has("policies", gate.policy):
                    yield f"there is no policy {gate.policy}; add it to `policies`"
            case LifecycleEntry() as lifecycle:
                lifecycle_rule(wanted.key, lifecycle, datetime.now(UTC))
            case TrustPolicy() as policy:
                make_policy(policy.model_dump(mode="json"), where=f"policy {wanted.key}")
            case HookEntry() as hook:
                yield from _check_hook(wanted, hook, known)
            case SubscriptionEntry() as subscription:
                _check_subscription(subscription)
            case _:
                yield from _check_deployment(wanted) if wanted.kind == "deployments" else ()
    except EntrepotError as error:
        yield error.message


def _no_account(name: str) -> str:
    return f"there is no user or robot {name}; add it to `users`"


def _check_remote(key: str, entry: RemoteEntry) -> None:
    from catalog.remotes.options import check_files
    from catalog.remotes.records import check_record, parse_key

    check_files(check_record(remote_record(parse_key(key), entry, None, datetime.now(UTC))))


def _check_distribution(
    path: str, entry: DistributionEntry, known: ExpectedState, has_version: Callable[[str, int], bool]
) -> Iterator[str]:
    repository = entry.repository or path
    if known.has("caches", path):
        yield "the path is a cache too; keep one of them (`entrepot distribution delete` deletes one that is there)"
    if not known.has("repositories", repository):
        yield f"there is no repository {repository}; add it to `repositories`, or sync it first"
    elif entry.version is not None and not has_version(repository, entry.version):
        yield f"the repository {repository} has no version {entry.version}; `entrepot version list` shows all"


def _check_cache(path: str, entry: CacheEntry, known: ExpectedState) -> Iterator[str]:
    from cli.content.distribution import check_cache_path
    from oci.remote.address import parse_remote

    if known.has("distributions", path):
        yield "the path serves a repository too; keep one of them (`entrepot distribution delete` deletes one that is there)"
    parse_remote(f"{entry.remote}/name")
    check_cache_path(path, [*known.all("distributions"), *known.all("caches")])


def _check_user(wanted: DesiredEntry, entry: UserEntry, known: ExpectedState) -> Iterator[str]:
    from catalog.access.administration import check_password

    account = known.seen.state.policy.accounts.get(wanted.key)
    if account is not None and account.robot != entry.robot:
        yield f"a {'robot' if account.robot else 'user'} has this name; delete it by `entrepot user delete`"
    if account is None and not entry.robot and not wanted.reference:
        yield "a new user needs `password: env:NAME` or `password: file:/PATH`"
    if wanted.secret:
        check_password(wanted.secret)


def _check_subjects(entry: RuleEntry, known: ExpectedState) -> Iterator[str]:
    for subject in entry.subjects:
        kind, _, name = subject.partition(":")
        if kind == "group" and not known.has("groups", name):
            yield f"there is no group {name}; add it to `groups`"
        if kind in {"user", "robot"}:
            if not known.has("users", name):
                yield _no_account(name)
            elif known.robots.get(name, kind == "robot") != (kind == "robot"):
                yield f"{name} is not a {kind}; write {'user' if kind == 'robot' else 'robot'}:{name}"


def _check_hook(wanted: DesiredEntry, entry: HookEntry, known: ExpectedState) -> Iterator[str]:
    from catalog.webhooks.records import Hook, read_record
    from cli.administration.hook import check_hook_request

    read_record(Hook, {**hook_fields(wanted.key, entry), "created_at": datetime.now(UTC)})
    check_hook_request(entry.deployment, entry.request)
    if wanted.secret and len(wanted.secret) < MIN_SECRET:
        yield f"the secret has less than {MIN_SECRET} characters; make a longer one"
    hook = known.seen.state.events.hooks.get(wanted.key)
    if hook is None and not wanted.reference:
        yield "a new hook needs `secret: env:NAME` or `secret: file:/PATH`"
    if hook is not None and not wanted.secret and (hook.proof == "hmac") != (entry.proof == "hmac"):
        yield f"the proof {entry.proof} needs the secret again; set `secret`"


def _check_subscription(entry: SubscriptionEntry) -> None:
    from catalog.webhooks.records import Subscription, read_record

    read_record(Subscription, {**subscription_fields(entry), "id": "checked", "created_at": datetime.now(UTC)})


def _check_deployment(wanted: DesiredEntry) -> Iterator[str]:
    entry: Any = wanted.entry
    if wanted.place[-1] == entry.flow:
        yield f"the deployment {entry.flow}/{entry.flow} is built in; choose another name"


def check_pools(desired: Sequence[DesiredEntry], check: "Callable[[DeploymentEntry], None]") -> Iterator[Found]:
    """Yield the deployments whose work pool is not there."""
    for wanted in desired:
        if wanted.kind == "deployments":
            try:
                check(wanted.entry)  # type: ignore[arg-type]  # it is one of this kind
            except EntrepotError as error:
                yield wanted.place, error.message


def _check_certificates(known: ExpectedState) -> Iterator[Found]:
    wished = {wanted.key: wanted for wanted in known.desired if isinstance(wanted.entry, UserEntry)}
    kept = {name: one.certificate for name, one in known.seen.state.policy.accounts.items() if name not in wished}
    owners: dict[str, str] = {text: name for name, text in kept.items() if text and ("users", name) not in known.gone}
    for name, wanted in wished.items():
        certificate = str(getattr(wanted.entry, "certificate", ""))
        if certificate and certificate in owners:
            yield wanted.place, f"the certificate already belongs to {owners[certificate]}; use another"
        if certificate:
            owners.setdefault(certificate, name)


def named_items(value: Mapping[str, Any]) -> Iterator[Address]:
    """Yield the things that a document names, whether or not their entries are right."""
    for kind, part in value.items():
        if isinstance(part, dict):
            yield from ((kind, str(key)) for key in part)
        elif kind == "repositories" and isinstance(part, list):
            yield from ((kind, one) for one in part if isinstance(one, str))


def reject(found: Sequence[str], detail: list[dict[str, Any]]) -> InvalidInput:
    """Return the error for a file with these faults, one a line."""
    count = f"{len(found)} faults; nothing was changed" if len(found) > 1 else "nothing was changed"
    return InvalidInput("\n".join([*found, count]), detail={"faults": detail})
