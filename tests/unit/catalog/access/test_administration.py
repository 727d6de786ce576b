"""Administration: what goes with an account or a group, so that a later one of that name inherits nothing."""

from datetime import UTC, datetime

import pytest

from catalog.access.administration import Administration, without_account
from catalog.access.policy import Grant, Policy, Rule, Trust, parse_grant
from catalog.access.store import AccessStore, ensure_administrator
from catalog.catalog import Catalog

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def desk(catalog: Catalog) -> Administration:
    ensure_administrator(catalog.settings)
    return Administration(AccessStore(catalog.settings, catalog.state), catalog.events, actor="test", now=lambda: NOW)


@pytest.mark.parametrize("robot", [True, False])
def test_a_later_account_of_a_name_inherits_nothing(desk: Administration, *, robot: bool) -> None:
    desk.add_account("mallory", password=None if robot else "correct horse")
    desk.add_account("bob", password="correct horse")
    subject = "robot:mallory" if robot else "user:mallory"
    alone = desk.add_rule([subject], parse_grant("admin:**"))
    shared = desk.add_rule([subject, "user:bob"], parse_grant("pull:team/**"))
    desk.set_group("developers", ["mallory", "bob"])
    desk.add_rule(["group:developers"], parse_grant("push:team/**"))
    desk.add_token("mallory")
    desk.add_trust(Trust(name="ci", issuer="https://i.example", audience="a", claims={"sub": "x"}, account="mallory"))
    desk.remove_account("mallory")
    policy = desk.policy
    assert [rule.id for rule in policy.rules if rule.id == alone.id] == []
    assert [rule.subjects for rule in policy.rules if rule.id == shared.id] == [("user:bob",)]
    assert (policy.groups, policy.tokens, policy.trusts) == ({"developers": ("bob",)}, {}, ())
    assert "mallory" not in policy.model_dump_json()
    for later in ("correct horse", None):
        desk.add_account("mallory", password=later)
        assert not desk.policy.decide("mallory", "pull", "team/app").allowed
        desk.remove_account("mallory")


def test_what_an_earlier_release_left_is_not_inherited(desk: Administration) -> None:
    """Rules of accounts and groups that were removed while their rules stayed."""
    left = Rule(id="left", subjects=("user:ghost", "group:gone"), grant=Grant(actions=("admin",), patterns=("**",)))
    desk._access.update(lambda policy: policy.model_copy(update={"rules": (*policy.rules, left)}))
    desk.add_account("ghost", password="correct horse")
    assert not desk.policy.decide("ghost", "pull", "team/app").allowed
    desk.set_group("gone", ["ghost"])
    assert not desk.policy.decide("ghost", "pull", "team/app").allowed
    assert "left" not in {rule.id for rule in desk.policy.rules}


def test_a_later_group_of_a_name_inherits_nothing(desk: Administration) -> None:
    desk.add_account("bob", password="correct horse")
    desk.set_group("team", ["bob"])
    desk.add_rule(["group:team"], parse_grant("push:team/**"))
    desk.set_group("team", [])
    desk.set_group("team", ["bob"])
    assert desk.policy.decide("bob", "push", "team/app").allowed  # the same group with other members
    desk.remove_group("team")
    desk.set_group("team", ["bob"])
    assert not desk.policy.decide("bob", "push", "team/app").allowed


def test_a_policy_without_an_account_is_otherwise_the_same() -> None:
    policy = Policy(rules=(Rule(id="a", subjects=("anyone",), grant=parse_grant("pull:x")),))
    assert without_account(policy, "nobody") == policy
