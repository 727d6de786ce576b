"""The changes that the plan of a sync comes to."""

from catalog.versions.changes import AddManifest, RemoveManifest, RemoveTag, SetTag
from flows.runs.metering import StagedManifest
from flows.sync.committing import plan_changes, reachable
from flows.sync.planning import plan_sync
from oci import mediatypes
from tests.unit.flows.sync.versions import BASE, UPSTREAM, base_of, descriptor, digest, staged


def test_additive_leaves_what_upstream_does_not_have() -> None:
    plan = plan_sync(BASE, UPSTREAM, mode="additive")
    assert plan.counts() == {"unchanged": 1, "moved": 1, "added": 1}
    changes = plan_changes(BASE, plan, mode="additive", staged=staged("b2", "d"))
    assert set(changes) == {
        AddManifest(descriptor("b2")),
        AddManifest(descriptor("d")),
        SetTag("moving", digest("b2")),
        SetTag("new", digest("d")),
    }


def test_mirror_removes_tags_and_what_they_alone_reached() -> None:
    plan = plan_sync(BASE, UPSTREAM, mode="mirror")
    changes = plan_changes(BASE, plan, mode="mirror", staged=staged("b2", "d"))
    gone = {change for change in changes if isinstance(change, RemoveTag | RemoveManifest)}
    assert gone == {RemoveTag("gone"), RemoveManifest(digest("b")), RemoveManifest(digest("c"))}


def test_a_failed_tag_keeps_its_content_in_a_mirror() -> None:
    plan = plan_sync(BASE, UPSTREAM, mode="mirror", failed={"moving": "500", "unheard": "404"})
    assert plan.counts() == {"unchanged": 1, "added": 1, "failed": 2, "removed": 1}
    changes = plan_changes(BASE, plan, mode="mirror", staged=staged("d"))
    assert RemoveManifest(digest("b")) not in changes
    assert not [change for change in changes if isinstance(change, SetTag | RemoveTag) and change.tag == "moving"]


def test_mirror_keeps_children_and_referrers_of_what_stays() -> None:
    base = base_of(
        {"multi": "index"}, subjects={"sbom": "index", "signature": "sbom", "stale": "old"}, untagged=("child", "old")
    )
    plan = plan_sync(base, {"multi": descriptor("index")}, mode="mirror")
    changes = plan_changes(base, plan, mode="mirror", staged={}, children={digest("index"): (digest("child"),)})
    assert set(changes) == {RemoveManifest(digest("old")), RemoveManifest(digest("stale"))}


def test_mirror_of_nothing_new_changes_nothing() -> None:
    base = base_of({"a": "a", "b": "a"}, subjects={"sbom": "a"})
    upstream = {"a": descriptor("a"), "b": descriptor("a")}
    plan = plan_sync(base, upstream, mode="mirror")
    assert plan_changes(base, plan, mode="mirror", staged={}) == ()


def test_mirror_keeps_new_children_and_new_referrers() -> None:
    base = base_of({"multi": "old"}, untagged=("shared",))
    index = StagedManifest(descriptor("index", mediatypes.OCI_INDEX), None, (descriptor("shared"), descriptor("child")))
    brought = {digest("index"): index, **staged("child"), **staged("sbom", subject="index")}
    plan = plan_sync(base, {"multi": descriptor("index", mediatypes.OCI_INDEX)}, mode="mirror")
    changes = plan_changes(base, plan, mode="mirror", staged=brought)
    assert [change for change in changes if isinstance(change, RemoveManifest)] == [RemoveManifest(digest("old"))]
    assert {change.descriptor.digest for change in changes if isinstance(change, AddManifest)} == set(brought)


def test_a_digest_alone_is_held_without_a_tag() -> None:
    wanted = descriptor("by-digest")
    plan = plan_sync(BASE, {wanted.digest: wanted}, mode="additive")
    assert [(item.tag, item.action) for item in plan.items] == [(wanted.digest, "added")]
    assert plan_changes(BASE, plan, mode="additive", staged=staged("by-digest")) == (AddManifest(wanted),)
    held = descriptor("a")
    assert plan_sync(BASE, {held.digest: held}).counts() == {"unchanged": 1}


def test_referrers_of_referrers_and_of_children_are_reached() -> None:
    base = base_of(
        {}, subjects={"signature": "child", "of-the-signature": "signature"}, untagged=("index", "child", "other")
    )
    children = {digest("index"): (digest("child"),)}
    found = reachable(base, [digest("index")], staged={}, children=children)
    assert found == {digest(name) for name in ("index", "child", "signature", "of-the-signature")}
    assert reachable(base, [digest("not here")], staged={}, children={}) == set()
