"""Entries of a file as records of the catalogue, as the commands make them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from catalog.desired_state.entries import (
    CacheEntry,
    DistributionEntry,
    HoldEntry,
    HookEntry,
    LifecycleEntry,
    PolicyGateEntry,
    QuotaEntry,
    RemoteEntry,
    RetentionEntry,
    RuleEntry,
    SubscriptionEntry,
    TrustEntry,
)
from catalog.units import parse_duration, parse_time
from cli.administrator import ACTOR

if TYPE_CHECKING:
    from catalog.access.policy import Grant, Trust
    from catalog.distributions.records import Distribution
    from catalog.holds.rules import HoldRule
    from catalog.lifecycle.rules import LifecycleRule
    from catalog.policy.gate_rules import PolicyGateRule
    from catalog.quotas.quotas import Quota
    from catalog.remotes.records import RemoteRecord
    from catalog.retention.rules import RetentionRule


def remote_record(key: str, entry: RemoteEntry, old: "RemoteRecord | None", now: datetime) -> "RemoteRecord":
    """Return the record of a remote."""
    from catalog.remotes.records import RemoteRecord

    fields: dict[str, Any] = {**entry.model_dump(), "headers": tuple(entry.headers.items())}
    return replace(old or RemoteRecord(key, now, now), **fields, updated_at=now)


def distribution_record(
    path: str, entry: DistributionEntry, old: "Distribution | None", now: datetime
) -> "Distribution":
    """Return the record of a path that serves a repository."""
    from catalog.distributions.records import Distribution

    fields = entry.model_dump(exclude={"repository", "history_from"})
    repository = entry.repository or path
    return replace(old or Distribution(path, repository, now, now), **fields, repository=repository, updated_at=now)


def cache_record(
    path: str, entry: CacheEntry, old: "Distribution | None", now: datetime, *, login: str
) -> "Distribution":
    """Return the record of a cache. Where nobody says who may pull, a new one that uses a login upstream is private."""
    from catalog.distributions.cache_rules import CacheRules
    from catalog.distributions.records import Distribution

    is_same = old is not None and old.remote == entry.remote
    base = old or Distribution(path, "", now, now)
    private = entry.private if entry.private is not None else base.private if is_same else bool(login)
    shares = entry.private is False or (entry.private is None and is_same and base.shares_login)
    rules = CacheRules(entry.include, entry.exclude, entry.bring, entry.max_size, entry.seconds("keep_unused") / 86400)
    return replace(
        base,
        remote=entry.remote,
        private=private,
        shares_login=shares,
        description=entry.description,
        labels=dict(entry.labels),
        immutable_tags=entry.immutable_tags,
        fresh_seconds=int(entry.seconds("freshness")),
        cache=rules.check(),
        updated_at=now,
    )


def grant_of(entry: RuleEntry) -> "Grant":
    """Return what a rule grants."""
    from catalog.access.policy import Grant

    return Grant(actions=entry.actions, patterns=entry.paths)


def trust_of(name: str, entry: TrustEntry) -> "Trust":
    """Return the record of a trust; raise InvalidInput."""
    from catalog.access.policy import Trust, parse_grant

    fields = entry.model_dump(exclude={"scopes"})
    return Trust(name=name, grants=tuple(map(parse_grant, entry.scopes)), **fields)


def quota_of(pattern: str, entry: QuotaEntry) -> "Quota":
    """Return the record of a quota."""
    from catalog.quotas.quotas import Quota

    return Quota(pattern, entry.bytes, entry.tags, entry.warn_bytes, entry.warn_tags)


def retention_rule(name: str, entry: RetentionEntry) -> "RetentionRule":
    """Return the record of a retention rule."""
    from catalog.retention.rules import RetentionRule

    return RetentionRule(name=name, line=entry.newest_of, **entry.model_dump(exclude={"newest_of"}))


def hold_rule(pattern: str, entry: HoldEntry, now: datetime) -> "HoldRule":
    """Return the record of a hold."""
    from catalog.holds.rules import HoldRule

    return HoldRule(pattern, parse_duration(entry.duration), ACTOR, now, entry.trust_created)


def gate_rule(key: str, entry: PolicyGateEntry, now: datetime) -> "PolicyGateRule":
    """Return the record of a gate; its key is that of the plan."""
    from catalog.policy.gate_rules import PolicyGateRule

    return PolicyGateRule(pattern=key.removesuffix(f" {entry.policy}"), set_by=ACTOR, set_at=now, **entry.model_dump())


def lifecycle_rule(scope: str, entry: LifecycleEntry, now: datetime) -> "LifecycleRule":
    """Return the record of a lifecycle; raise InvalidInput."""
    from catalog.lifecycle.rules import LifecycleRule, check_lifecycle, parse_lifecycle_scope

    fields: dict[str, Any] = {
        **entry.model_dump(),
        "end_of_life": parse_time(entry.end_of_life) if entry.end_of_life else None,
        "warn_before": parse_duration(entry.warn_before),
    }
    return check_lifecycle(LifecycleRule(*parse_lifecycle_scope(scope), ACTOR, now, **fields))


def hook_fields(name: str, entry: HookEntry) -> dict[str, Any]:
    """Return the fields of a hook, without its secret."""
    quiet = parse_duration(entry.quiet).total_seconds()
    return {"name": name, **entry.model_dump(exclude={"quiet", "secret"}), "quiet_seconds": quiet}


def subscription_fields(entry: SubscriptionEntry) -> dict[str, Any]:
    """Return the fields of a subscription; its secret stays a reference, which the registry reads."""
    kind, _, name = (entry.secret or "").partition(":")
    return {
        **entry.model_dump(include={"url", "events", "repositories", "format", "internal"}),
        "secret_env": name if kind == "env" else "",
        "secret_file": name if kind == "file" else "",
        "give_up_hours": parse_duration(entry.give_up) / timedelta(hours=1),
    }
