"""Patterns, scopes and the rule that decides."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.access.bearer_tokens import Scope, parse_scope
from catalog.access.policy import ACTIONS, Account, Caller, Grant, Policy, Rule, decide_access, parse_grant
from catalog.path_patterns import matches, parse_path_pattern
from oci.errors import InvalidInput
from oci.reference import is_name

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("team/app", ["team/app"], ["team/apps", "team/app/x", "xteam/app"]),
        ("team/*", ["team/app", "team/b"], ["team", "team/a/b", "teams/a"]),
        ("team/**", ["team", "team/app", "team/a/b"], ["teams", "teams/a", "x/team"]),
        ("**", ["a", "a/b/c"], []),
        ("*", ["a"], ["a/b"]),
        ("**/app", ["team/app", "a/b/app"], ["app", "team/apps"]),
        ("team/a?p", ["team/app"], ["team/a/p", "team/ap"]),
        ("a.b", ["a.b"], ["axb"]),
    ],
)
def test_patterns_go_by_whole_parts(pattern: str, fitting: list[str], others: list[str]) -> None:
    assert [name for name in fitting + others if matches(pattern, name)] == fitting


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        pattern = parse_path_pattern(text)
    except InvalidInput:
        return
    assert matches(pattern, "team/app") in {True, False}


@given(st.text(max_size=60))
def test_any_text_is_a_scope_or_nothing(text: str) -> None:
    scope = parse_scope(text)
    assert scope is None or scope.kind == "registry" or is_name(scope.name)


@given(
    st.from_regex(r"[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,3}", fullmatch=True),
    st.sets(st.sampled_from(["pull", "push", "x"]), min_size=1),
)
def test_scopes_come_back_as_they_went(name: str, actions: set[str]) -> None:
    scope = Scope("repository", name, tuple(sorted(actions)))
    assert parse_scope(str(scope)) == scope


def policy_of(*rules: tuple[str, str], groups: dict[str, tuple[str, ...]] | None = None) -> Policy:
    accounts = {
        "alice": Account(name="alice", created_at=NOW),
        "ci": Account(name="ci", robot=True, created_at=NOW),
        "off": Account(name="off", disabled=True, created_at=NOW),
    }
    made = [Rule(id=str(number), subjects=(who,), grant=parse_grant(what)) for number, (who, what) in enumerate(rules)]
    return Policy(accounts=accounts, groups=groups or {}, rules=tuple(made))


@pytest.mark.parametrize(
    ("subject", "who", "allowed"),
    [
        ("user:alice", "alice", True),
        ("robot:ci", "ci", True),
        ("user:ci", "ci", False),
        ("group:devs", "alice", True),
        ("group:devs", "ci", False),
        ("users", "alice", True),
        ("users", "", False),
        ("users", "ghost", False),
        ("anyone", "", True),
        ("anyone", "off", True),
        ("user:off", "off", False),
        ("users", "off", False),
    ],
)
def test_subjects(subject: str, who: str, allowed: bool) -> None:
    policy = policy_of((subject, "pull:team/**"), groups={"devs": ("alice",)})
    assert policy.decide(who, "pull", "team/app").allowed is allowed
    assert not policy.decide(who, "push", "team/app").allowed
    assert not policy.decide(who, "pull", "other/app").allowed


def test_admin_is_every_action_and_the_deciding_rule_is_named() -> None:
    policy = policy_of(("user:ci", "pull:team/**"), ("user:alice", "admin:team/**"))
    for action in ACTIONS:
        decided = policy.decide("alice", action, "team/app")
        assert decided.allowed
        assert decided.reason.startswith("rule 1:")


names = st.sampled_from(["team/app", "team/other", "open/app"])
actions = st.sampled_from(["pull", "push", "delete", "admin"])
grants = st.builds(
    lambda some, patterns: Grant(actions=tuple(some), patterns=tuple(patterns)),
    st.sets(actions, min_size=1),
    st.sets(st.sampled_from(["team/*", "open/**", "**", "team/app"]), min_size=1),
)


@given(st.lists(grants, max_size=3), st.lists(grants, min_size=1, max_size=3), actions, names, st.booleans())
def test_a_narrow_login_never_does_more_than_its_account(
    held: list[Grant], narrowed: list[Grant], action: str, name: str, public: bool
) -> None:
    rules = tuple(Rule(id=str(number), subjects=("user:alice",), grant=grant) for number, grant in enumerate(held))
    policy = Policy(accounts={"alice": Account(name="alice", created_at=NOW)}, rules=rules)
    whole = decide_access(policy, Caller("alice"), action, name, public=public).allowed  # type: ignore[arg-type]
    part = decide_access(policy, Caller("alice", tuple(narrowed)), action, name, public=public).allowed  # type: ignore[arg-type]
    assert whole or not part
    if public and action == "pull":
        assert whole
        assert part
