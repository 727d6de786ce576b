"""The plan of a sync: what it tells of each tag."""

from flows.runs.plan_items import PlanItem
from flows.sync.planning import SyncPlan, plan_sync
from tests.unit.flows.sync.versions import BASE, UPSTREAM, base_of, descriptor, digest


def test_each_tag_gets_its_action_and_reason() -> None:
    plan = plan_sync(BASE, UPSTREAM, mode="mirror", dropped={"gone": "excluded by g*"})
    assert plan.base == 3
    assert [(item.tag, item.action, item.reason) for item in plan.items] == [
        ("same", "unchanged", "same digest"),
        ("moving", "moved", "points elsewhere upstream"),
        ("new", "added", "new"),
        ("gone", "removed", "excluded by g*"),
    ]
    moving = plan.items[1]
    assert (moving.digest, moving.previous, moving.size) == (digest("b2"), digest("b"), 100)


def test_a_manifest_that_lacks_parts_is_completed_and_not_left_unchanged() -> None:
    plan = plan_sync(BASE, UPSTREAM, incomplete={digest("a")})
    assert [item.tag for item in plan.of("completed")] == ["same"]
    assert plan.counts() == {"completed": 1, "moved": 1, "added": 1}


def test_a_plan_names_the_source_of_what_is_there_and_of_nothing_else() -> None:
    items = (PlanItem("new", "added", reason="new"), PlanItem("gone", "removed", reason="not upstream"))
    plan = SyncPlan(3, (*items, PlanItem("bad", "failed", reason="500"), PlanItem("alone", "added", reason="new")))
    named = plan.with_sources(
        {"new": "one.example/app", "gone": "one.example/app", "bad": "two.example/app", "alone": ""}
    )
    assert [item.reason for item in named.items] == ["new, from one.example/app", "not upstream", "500", "new"]


def test_an_empty_version_of_a_mirror_has_nothing_to_remove() -> None:
    assert plan_sync(base_of({}), {"v1": descriptor("a")}, mode="mirror").counts() == {"added": 1}
