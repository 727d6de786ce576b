"""Whatever is there: its export fits the file's model, changes nothing where it was written, and makes the same elsewhere."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.access.policy import ACTIONS, Account, Grant, Policy, Rule, Trust
from catalog.desired_state.plan import plan_apply
from catalog.desired_state.present import PresentState
from catalog.distributions.cache_rules import CacheRules
from catalog.distributions.records import Distribution
from catalog.quotas.quotas import Quota
from catalog.remotes.records import RemoteRecord
from catalog.retention.rules import RetentionRule
from catalog.versions.rows import RepositoryRow
from catalog.webhooks.records import EventRecords, Hook, Subscription
from cli.configuration import records
from cli.configuration.apply_context import CurrentState
from cli.configuration.desired_entries import DesiredEntry, desired_entries_of
from cli.configuration.document import parse_document_text
from cli.configuration.export_config import to_yaml, write_configuration
from cli.configuration.model import read_entries

NOW = datetime(2026, 1, 31, tzinfo=UTC)
names = st.sampled_from(["team/app", "team/base", "a", "no", "1.5", "0x1f", "library/nginx", "on/off"])
accounts = st.sampled_from(["alice", "bob", "no", "1e3", "ci-bot", "null", "y"])
patterns = st.sampled_from(["team/**", "**", "*", "re:team/.*", "a?/b", "1"])
globs = st.sampled_from(["team/**", "**", "*", "a"])
remarks = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30) | st.sampled_from(
    ["yes", "#x", "a: b", "- 1", "\n\t"]
)
some = st.lists(patterns, max_size=2, unique=True).map(tuple)
durations = st.sampled_from([0, 1, 60, 90, 3600, 86400, 90061, 604800, 1.5])
sizes = st.integers(0, 2**53) | st.sampled_from([10**9, 5 * 10**8, 2**30, 0])
ages = st.sampled_from(["", "30d", "12h", "2026-01-31"])
labels = st.dictionaries(st.sampled_from(["tier", "no", "1"]), remarks, max_size=2)
tags = st.lists(st.sampled_from(["v*", "1.0", "re:v[0-9]+", "semver:>=1"]), max_size=2, unique=True).map(tuple)

remotes = st.builds(
    RemoteRecord,
    key=st.sampled_from(["docker.io", "quay.io/team", "registry.example:5000"]),
    created_at=st.just(NOW),
    updated_at=st.just(NOW),
    description=remarks,
    policy=st.sampled_from(["", "immediate", "on_demand", "streamed"]),
    proxy=st.sampled_from(["", "none", "http://proxy.example:3128", "env:PROXY"]),
    headers=st.sampled_from([(), (("X-Team", "env:TEAM"), ("No", "file:/run/no"))]),
    concurrency=st.integers(0, 100),
    mirrors=st.sampled_from([(), ("mirror.example",), ("mirror.example,digest-only", "b.example")]),
    rate=st.sampled_from(["", "100/6h"]),
    bandwidth=sizes,
)
repositories = st.builds(
    RepositoryRow, name=names, version=st.integers(1, 9), tags=st.integers(0, 3), manifests=st.integers(0, 3), blobs=st.just(0),
    size_bytes=st.just(0), created_at=st.just(NOW), updated_at=st.just(NOW),
)  # fmt: skip
paths = st.builds(
    Distribution, path=names, repository=names, created_at=st.just(NOW), updated_at=st.just(NOW),
    version=st.none() | st.integers(0, 9), private=st.booleans(), description=remarks, labels=labels, immutable_tags=tags,
)  # fmt: skip
caches = st.builds(
    Distribution,
    path=st.sampled_from(["hub", "mirror/quay"]),
    repository=st.just(""),
    created_at=st.just(NOW),
    updated_at=st.just(NOW),
    remote=st.sampled_from(["docker.io", "https://quay.io/team"]),
    private=st.booleans(),
    description=remarks,
    labels=labels,
    fresh_seconds=durations.map(int),
    cache=st.builds(
        CacheRules,
        some,
        some,
        st.sampled_from(["anyone", "users", "rule"]),
        sizes,
        durations.map(lambda count: count / 86400),
    ),
).flatmap(lambda one: st.just(one) if one.private else st.booleans().map(lambda shares: _shared(one, shares)))


def _shared(one: Distribution, shares: bool) -> Distribution:
    return replace(one, shares_login=shares)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    people = {
        name: Account(name=name, robot=draw(st.booleans()), disabled=draw(st.booleans()), created_at=NOW)
        for name in draw(st.sets(accounts, max_size=3))
    }
    members = st.lists(st.sampled_from(sorted(people)), unique=True).map(tuple) if people else st.just(())
    groups = {name: draw(members) for name in draw(st.sets(accounts, max_size=2))}
    subjects = ["anyone", "users", *(f"group:{name}" for name in groups), *(one.subject for one in people.values())]
    made = [
        Rule(
            id=name,
            subjects=tuple(draw(st.lists(st.sampled_from(subjects), min_size=1, unique=True))),
            grant=Grant(
                actions=tuple(
                    action for action in ACTIONS if action in draw(st.sets(st.sampled_from(ACTIONS), min_size=1))
                )
                or ACTIONS,
                patterns=tuple(draw(st.lists(globs, min_size=1, max_size=2, unique=True))),
            ),
        )
        for name in sorted(draw(st.sets(accounts, max_size=2)))
    ]
    trusts = [
        Trust(name="ci", issuer="https://ci.example", audience="a", claims={"sub": "repo:*", "no": "1"}, account=name,
              grants=(Grant(actions=("pull",), patterns=("team/**", "a")),))
        for name in sorted(people)[:1]
    ]  # fmt: skip
    return Policy(accounts=people, groups=groups, rules=tuple(made), trusts=tuple(trusts))


quotas = st.builds(
    Quota, patterns, sizes, st.none() | st.integers(0, 99), st.none() | st.just(5), st.none() | st.integers(0, 9)
)
rules = st.builds(
    RetentionRule, name=accounts, pattern=patterns, keep=tags, newest=st.none() | st.integers(1, 9),
    line=st.sampled_from(["repository", "major", "minor"]), set_within=ages, pulled_within=ages,
    labels=st.sampled_from([(), ("keep", "a=b")]), untagged_after=ages, versions=st.none() | st.integers(1, 9),
)  # fmt: skip
hooks = st.builds(
    Hook, name=accounts, kind=st.sampled_from(["auto", "harbor"]), upstream=st.just("registry.example/team"),
    target=st.sampled_from(["", "mirrors"]), request=st.sampled_from([{}, {"policy": "on_demand", "platforms": ["linux/amd64"]}]),
    repositories=some, tags=tags, whole=st.booleans(), quiet_seconds=durations.filter(lambda count: count <= 3600),
    proof=st.sampled_from(["token", "hmac", "url"]), created_at=st.just(NOW), secret=st.just("kept"),
)  # fmt: skip
subscriptions = st.builds(
    Subscription, id=accounts, url=st.sampled_from(["https://a.example/x?key=1", "http://b.example"]),
    events=st.sampled_from([("version.created",), ("*",), ("version.created", "distribution.changed")]),
    repositories=st.sampled_from([("**",), ("team/**", "a")]), secret_env=st.sampled_from(["", "OPS"]),
    give_up_hours=st.sampled_from([1, 72, 0.5, 8760]), internal=st.booleans(), created_at=st.just(NOW),
)  # fmt: skip


def _by(key: str, found: Iterable[object]) -> list[object]:
    """Return one for each key, in order of keys."""
    return [one for _, one in sorted({getattr(one, key): one for one in found}.items())]


def few(kind: st.SearchStrategy[object], key: str) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(kind, max_size=2).map(lambda found: tuple(_by(key, found)))


states = st.builds(
    PresentState,
    remotes=few(remotes, "key"),
    repositories=few(repositories, "name"),
    distributions=st.tuples(few(paths, "path"), few(caches, "path")).map(lambda found: (*found[0], *found[1])),
    policy=policies(),
    quotas=few(quotas, "pattern"),
    retention=few(rules, "name"),
    events=st.tuples(few(hooks, "name"), few(subscriptions, "id")).map(
        lambda found: EventRecords(
            hooks={one.name: one for one in found[0]},  # type: ignore[attr-defined,misc]
            subscriptions={one.id: one for one in found[1]},  # type: ignore[attr-defined,misc]
        )
    ),
)


def made_of(desired: Iterable[DesiredEntry]) -> PresentState:
    """Return the records that an apply in a fresh home makes."""
    found: dict[str, list[tuple[str, object]]] = {}
    for wanted in desired:
        found.setdefault(wanted.kind, []).append((wanted.key, wanted.entry))
    get = found.get

    def each(kind: str, make):  # type: ignore[no-untyped-def]  # of whatever the kind is
        return [make(key, entry) for key, entry in get(kind, [])]

    people = each("users", lambda key, one: Account(name=key, robot=one.robot, disabled=one.disabled, created_at=NOW))
    return PresentState(
        tuple(each("remotes", lambda key, one: records.remote_record(key, one, None, NOW))),
        tuple(each("repositories", lambda key, _: RepositoryRow(key, 1, 0, 0, 0, 0, NOW, NOW))),
        (
            *each("distributions", lambda key, one: records.distribution_record(key, one, None, NOW)),
            *each("caches", lambda key, one: records.cache_record(key, one, None, NOW, login="")),
        ),
        Policy(
            accounts={one.name: one for one in people},
            groups={key: one.members for key, one in get("groups", [])},  # type: ignore[attr-defined]
            rules=tuple(
                each("access", lambda key, one: Rule(id=key, subjects=one.subjects, grant=records.grant_of(one)))
            ),
            trusts=tuple(each("trusts", records.trust_of)),
        ),
        tuple(each("quotas", records.quota_of)),
        tuple(each("retention", records.retention_rule)),
        EventRecords(
            hooks={
                key: Hook(**records.hook_fields(key, one), created_at=NOW)  # type: ignore[arg-type]
                for key, one in get("hooks", [])
            },
            subscriptions={
                key: Subscription(id=key, **records.subscription_fields(one), created_at=NOW)  # type: ignore[arg-type]
                for key, one in get("subscriptions", [])
            },
        ),
    )


@settings(max_examples=60, deadline=None)
@given(states)
def test_an_export_changes_nothing_here_and_makes_the_same_elsewhere(state: PresentState) -> None:
    seen = CurrentState(state)
    value = write_configuration(seen)
    text = to_yaml(value)
    entries, faults = read_entries(parse_document_text(text.encode(), "f"))
    assert [fault.show("f") for fault in faults] == []
    desired = list(desired_entries_of(entries, {}))
    plan = plan_apply([wanted.item(seen) for wanted in desired], seen.items, (), prune=True)
    assert [(step.key, step.changes) for step in plan.effective] == []
    assert len(plan.steps) == len(seen.items)  # nothing was left out
    made = made_of(desired)
    assert write_configuration(CurrentState(made)) == value
    assert (made.remotes, made.quotas, made.retention) == (state.remotes, state.quotas, state.retention)
    assert made.events.subscriptions == state.events.subscriptions
    hooks = {name: one.model_copy(update={"secret": ""}) for name, one in state.events.hooks.items()}
    assert made.events.hooks == hooks
    assert (made.policy.accounts, made.policy.rules, made.policy.trusts) == (
        state.policy.accounts, state.policy.rules, state.policy.trusts,
    )  # fmt: skip
    assert {name: set(one) for name, one in made.policy.groups.items()} == {
        name: set(one) for name, one in state.policy.groups.items()
    }
    assert [_comparable(one) for one in made.distributions] == [_comparable(one) for one in state.distributions]


def _comparable(one: Distribution) -> Distribution:
    """Return the same with days that are rounded: they are written as durations."""
    return replace(one, cache=replace(one.cache, keep_unused_days=round(one.cache.keep_unused_days, 6)))
