"""The stage ComparedPath: failures of some tags, and of a whole path."""

from flows.push.comparison import fail_whole, items_of, with_failed
from flows.runs.plan_items import PlanItem
from oci.digest import Digest

ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
ITEMS = {
    "new": PlanItem("new", "added", ONE, reason="new"),
    "same": PlanItem("same", "unchanged", TWO, TWO, reason="same digest"),
    "gone": PlanItem("gone", "removed", reason="not here"),
    "bad": PlanItem("bad", "failed", ONE, reason="500"),
}


def test_tags_that_fail_keep_their_digests() -> None:
    failed = with_failed(ITEMS, {"new": "refused"})
    assert failed["new"] == PlanItem("new", "failed", ONE, reason="refused")
    assert [item.tag for item in items_of(failed, "failed")] == ["new", "bad"]
    assert items_of(ITEMS, "failed") == [ITEMS["bad"]]


def test_a_path_that_fails_tells_why_and_not_what_was_planned() -> None:
    """The reason of the plan, "new", was given as that of the failure once."""
    failed = fail_whole(ITEMS, "the login may not push there")
    assert {tag: (item.action, item.reason) for tag, item in failed.items()} == {
        "new": ("failed", "the login may not push there"),
        "same": ("unchanged", "same digest"),
        "gone": ("failed", "the login may not push there"),
        "bad": ("failed", "500"),
    }
