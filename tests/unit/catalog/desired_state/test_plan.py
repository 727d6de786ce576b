"""The plan of an apply, and the ledger of what applies have created: pure, over items."""

from datetime import UTC, datetime

import pytest

from catalog.desired_state.ledger import Ledger
from catalog.desired_state.plan import ApplyPlan, DesiredItem, FieldChange, PresentItem, plan_apply

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def present(*items: PresentItem) -> dict[tuple[str, str], PresentItem]:
    return {(one.kind, one.key): one for one in items}


def shown(plan: ApplyPlan) -> list[tuple[str, str, str]]:
    return [(step.action, step.kind, step.key) for step in plan.steps]


def test_what_is_not_there_is_created_after_what_it_names() -> None:
    wished = [
        DesiredItem("access", "a", {}),
        DesiredItem("users", "alice", {}),
        DesiredItem("remotes", "docker.io", {}),
    ]
    plan = plan_apply(wished, {}, (), prune=False)
    assert shown(plan) == [("create", "remotes", "docker.io"), ("create", "users", "alice"), ("create", "access", "a")]


def test_only_fields_that_the_file_decides_are_compared() -> None:
    there = present(PresentItem("distributions", "a", {"private": True, "history_from": 3}))
    plan = plan_apply([DesiredItem("distributions", "a", {"private": True})], there, (), prune=False)
    assert shown(plan) == [("unchanged", "distributions", "a")]
    assert plan.effective == ()
    plan = plan_apply([DesiredItem("distributions", "a", {"private": False})], there, (), prune=False)
    assert plan.steps[0].changes == (FieldChange("private", True, False),)


def test_another_secret_is_a_change_that_shows_nothing() -> None:
    there = present(PresentItem("users", "alice", {"robot": False}))
    plan = plan_apply([DesiredItem("users", "alice", {"robot": False}, secret_differs=True)], there, (), prune=False)
    assert plan.steps[0].changes == (FieldChange("secret", None, None),)


@pytest.mark.parametrize(("prune", "action"), [(False, "keep"), (True, "remove")])
def test_what_an_apply_created_is_removed_by_pruning_alone(prune: bool, action: str) -> None:
    there = present(PresentItem("groups", "old", {}), PresentItem("groups", "somebodys", {}))
    plan = plan_apply([], there, {("groups", "old"), ("groups", "gone")}, prune=prune)
    assert shown(plan) == [(action, "groups", "old")]


def test_removals_come_first_and_the_other_way_round() -> None:
    there = present(*(PresentItem(kind, "x", {}) for kind in ("users", "access", "remotes")))
    plan = plan_apply([DesiredItem("quotas", "**", {})], there, set(there), prune=True)
    assert [(step.action, step.kind) for step in plan.steps] == [
        ("remove", "access"), ("remove", "users"), ("remove", "remotes"), ("create", "quotas"),
    ]  # fmt: skip


def test_what_has_a_reason_to_stay_is_kept_although_pruning_is_on() -> None:
    there = present(PresentItem("repositories", "team/app", {}, kept_because="it holds content"))
    plan = plan_apply([], there, set(there), prune=True)
    assert (plan.steps[0].action, plan.steps[0].reason) == ("keep", "it holds content")


def test_another_thing_of_the_same_key_is_somebody_elses() -> None:
    mine, others = PresentItem("users", "alice", {}, "made at 1"), PresentItem("users", "alice", {}, "made at 2")
    ledger = Ledger().intend([("users", "alice")], NOW).settle(present(mine), looked_at={"users"})
    assert ledger.owned(present(mine)) == {("users", "alice")}
    assert ledger.owned(present(others)) == frozenset()
    assert ledger.settle(present(others), looked_at={"users"}).made == ()


def test_a_killed_apply_leaves_what_it_created_to_be_recognised() -> None:
    ledger = Ledger().intend([("users", "alice"), ("users", "bob")], NOW)
    there = present(PresentItem("users", "alice", {}, "made at 1"))
    assert ledger.owned(there) == {("users", "alice")}
    settled = ledger.settle(there, looked_at={"users"})
    assert [(one.key, one.identity) for one in settled.made] == [("alice", "made at 1")]


def test_kinds_that_nobody_looked_at_stay_in_the_ledger() -> None:
    ledger = Ledger().intend([("deployments", "sync-many/nightly")], NOW)
    assert ledger.settle({}, looked_at={"users"}) == ledger
