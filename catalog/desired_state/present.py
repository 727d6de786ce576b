"""Today's state as entries of a configuration file: what a plan compares with, and what an export writes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel

from catalog.access.policy import ACTIONS, Account, Policy, Rule, Trust
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
    RepositoryEntry,
    RetentionEntry,
    RuleEntry,
    SubscriptionEntry,
    TrustEntry,
    UserEntry,
    date_text,
)
from catalog.distributions.records import Distribution
from catalog.holds.rules import HoldRule
from catalog.lifecycle.records import scope_of
from catalog.lifecycle.rules import LifecycleRule, lifecycle_fields
from catalog.policy.gate_rules import PolicyGateRule
from catalog.policy.store import PolicyRecords
from catalog.quotas.quotas import Quota
from catalog.remotes.records import RemoteRecord
from catalog.retention.rules import RetentionRule
from catalog.units import format_duration, format_time
from catalog.versions.rows import RepositoryRow
from catalog.webhooks.records import EventRecords, Hook, Subscription


@dataclass(frozen=True, slots=True)
class PresentEntry:
    """A thing that is there, as an entry; see PresentItem for `identity` and `kept_because`."""

    kind: str
    key: str
    entry: BaseModel
    identity: str = ""
    kept_because: str = ""


@dataclass(frozen=True, slots=True)
class PresentState:
    """All records of a catalogue that a file can wish for."""

    remotes: tuple[RemoteRecord, ...] = ()
    repositories: tuple[RepositoryRow, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    policy: Policy = field(default_factory=Policy)
    quotas: tuple[Quota, ...] = ()
    retention: tuple[RetentionRule, ...] = ()
    events: EventRecords = field(default_factory=EventRecords)
    holds: tuple[HoldRule, ...] = ()
    trust: PolicyRecords = field(default_factory=PolicyRecords)
    lifecycles: tuple[LifecycleRule, ...] = ()

    def entries(self) -> Iterator[PresentEntry]:
        """Yield each thing as an entry, but what a cache has made below its path: pulls make it again."""
        for remote in self.remotes:
            yield PresentEntry("remotes", remote.key, remote_entry(remote), _time(remote.created_at))
        caches = [one.path for one in self.distributions if one.remote]
        for row in self.repositories:
            if _lies_below(row.name, caches):
                continue
            was_filled = (
                row.tags or row.manifests or row.updated_at != row.created_at
            )  # or had content in earlier versions
            kept = "it has had content since; `entrepot repository delete` deletes it" if was_filled else ""
            yield PresentEntry("repositories", row.name, RepositoryEntry(), _time(row.created_at), kept)
        for one in self.distributions:
            is_latest_of_its_name = one.repository == one.path and one.version is None
            if not one.remote and is_latest_of_its_name and _lies_below(one.path, caches):
                continue
            kind, entry = ("caches", cache_entry(one)) if one.remote else ("distributions", distribution_entry(one))
            yield PresentEntry(kind, one.path, entry, _time(one.created_at))
        yield from _access_entries(self.policy)
        for quota in self.quotas:
            yield PresentEntry("quotas", quota.pattern, quota_entry(quota))
        for kept_rule in self.retention:
            yield PresentEntry("retention", kept_rule.name, retention_entry(kept_rule))
        yield from self._gate_entries()
        for hook in self.events.hooks.values():
            yield PresentEntry("hooks", hook.name, hook_entry(hook), _time(hook.created_at))
        for subscription in self.events.subscriptions.values():
            identity = _time(subscription.created_at)
            yield PresentEntry("subscriptions", subscription.id, subscription_entry(subscription), identity)

    def _gate_entries(self) -> Iterator[PresentEntry]:
        for hold in self.holds:
            yield PresentEntry("holds", hold.pattern, hold_entry(hold))
        for name, stored in sorted(self.trust.policies.items()):
            yield PresentEntry("policies", name, stored.policy)
        for gate in self.trust.gates:
            yield PresentEntry("gates", gate_key(gate.pattern, gate.policy), gate_entry(gate))
        for lifecycle in self.lifecycles:
            yield PresentEntry("lifecycle", scope_of(lifecycle), lifecycle_entry(lifecycle))


def gate_key(pattern: str, policy: str) -> str:
    """Return what a plan calls a gate: there is one for a pattern and a policy."""
    return f"{pattern} {policy}"


def _lies_below(name: str, paths: Iterable[str]) -> bool:
    return any(name.startswith(f"{path}/") for path in paths)


def _access_entries(policy: Policy) -> Iterator[PresentEntry]:
    for account in policy.accounts.values():
        yield PresentEntry("users", account.name, user_entry(account), _time(account.created_at))
    for name, members in policy.groups.items():
        yield PresentEntry("groups", name, GroupEntry(members=tuple(sorted(members))))
    for rule in policy.rules:
        yield PresentEntry("access", rule.id, rule_entry(rule))
    for trust in policy.trusts:
        yield PresentEntry("trusts", trust.name, trust_entry(trust))


def _time(when: datetime) -> str:
    return format_time(when)


def _span(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))


def remote_entry(one: RemoteRecord) -> RemoteEntry:
    """Return the entry of a remote; what is there is not judged again."""
    names = RemoteEntry.model_fields.keys() - {"headers"}
    return RemoteEntry.model_construct(headers=dict(one.headers), **{name: getattr(one, name) for name in names})


def distribution_entry(one: Distribution) -> DistributionEntry:
    """Return the entry of a path that serves a repository."""
    return DistributionEntry.model_construct(
        repository=one.repository,
        version=one.version,
        private=one.private,
        description=one.description,
        labels=dict(one.labels),
        immutable_tags=one.immutable_tags,
        history_from=one.history_from,
    )


def cache_entry(one: Distribution) -> CacheEntry:
    """Return the entry of a cache. A public one says so only where somebody has decided that it shares a login."""
    return CacheEntry.model_construct(
        remote=one.remote,
        private=True if one.private else False if one.shares_login else None,
        description=one.description,
        labels=dict(one.labels),
        immutable_tags=one.immutable_tags,
        freshness=_span(one.fresh_seconds),
        include=one.cache.include,
        exclude=one.cache.exclude,
        bring=one.cache.bring,
        max_size=one.cache.max_size,
        keep_unused=_span(one.cache.keep_unused_days * 86400),
    )


def user_entry(one: Account) -> UserEntry:
    """Return the entry of an account, without its password."""
    return UserEntry.model_construct(robot=one.robot, certificate=one.certificate, disabled=one.disabled)


def rule_entry(one: Rule) -> RuleEntry:
    """Return the entry of an access rule."""
    return RuleEntry.model_construct(
        subjects=one.subjects,
        actions=tuple(action for action in ACTIONS if action in one.grant.actions),
        paths=one.grant.patterns,
    )


def trust_entry(one: Trust) -> TrustEntry:
    """Return the entry of a trust."""
    scopes = tuple(map(str, one.grants))
    return TrustEntry.model_construct(
        issuer=one.issuer, audience=one.audience, account=one.account, claims=dict(one.claims), scopes=scopes
    )


def quota_entry(one: Quota) -> QuotaEntry:
    """Return the entry of a quota."""
    return QuotaEntry.model_construct(
        bytes=one.max_bytes, tags=one.max_tags, warn_bytes=one.warn_bytes, warn_tags=one.warn_tags
    )


def retention_entry(one: RetentionRule) -> RetentionEntry:
    """Return the entry of a retention rule."""
    fields = one.model_dump(exclude={"name", "line"})
    return RetentionEntry.model_construct(newest_of=one.line, **fields)


def hold_entry(one: HoldRule) -> HoldEntry:
    """Return the entry of a hold."""
    return HoldEntry.model_construct(duration=format_duration(one.duration), trust_created=one.trust_created)


def gate_entry(one: PolicyGateRule) -> PolicyGateEntry:
    """Return the entry of a gate."""
    return PolicyGateEntry.model_construct(policy=one.policy, at=one.at, mode=one.mode, quarantine=one.quarantine)


def lifecycle_entry(one: LifecycleRule) -> LifecycleEntry:
    """Return the entry of a lifecycle."""
    end = date_text(one.end_of_life) if one.end_of_life else ""
    return LifecycleEntry.model_construct(**{**lifecycle_fields(one), "end_of_life": end})


def hook_entry(one: Hook) -> HookEntry:
    """Return the entry of a hook, without its secret."""
    fields = one.model_dump(include=HookEntry.model_fields.keys() - {"secret", "quiet"})
    return HookEntry.model_construct(quiet=_span(one.quiet_seconds), **fields)


def subscription_entry(one: Subscription) -> SubscriptionEntry:
    """Return the entry of a subscription; its secret is a reference already."""
    fields = one.model_dump(include={"url", "events", "repositories", "format", "internal"})
    secret = f"env:{one.secret_env}" if one.secret_env else f"file:{one.secret_file}" if one.secret_file else None
    return SubscriptionEntry.model_construct(secret=secret, give_up=_span(one.give_up_hours * 3600), **fields)
