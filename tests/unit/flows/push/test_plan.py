"""The rules of a push: what goes, in which order, and what a mirror deletes."""

from catalog.filters.companions import CompanionFilter
from catalog.filters.tags import Selection, TagFilter
from catalog.versions.snapshot import ManifestEntry, Snapshot
from flows.push.plan import blobs_of, made_of, plan_deletions, plan_push, select_one, select_tags
from oci import mediatypes
from oci.digest import Digest

INDEX, CHILD, LAYER, SIGNATURE, LIST = (Digest.of(name.encode()) for name in ("index", "child", "layer", "sig", "list"))
SIGNATURE_TAG = f"sha256-{CHILD.encoded}.sig"
LIST_TAG = f"sha256-{INDEX.encoded}"
VERSION = Snapshot(
    "team/app",
    3,
    tags={"v1": INDEX, SIGNATURE_TAG: SIGNATURE, LIST_TAG: LIST},
    manifests={digest: ManifestEntry(mediatypes.OCI_MANIFEST, 100) for digest in (INDEX, CHILD, SIGNATURE, LIST)},
    blobs={LAYER: 10},
)
CHILDREN = {INDEX: (CHILD,), CHILD: (LAYER,)}
ALL = CompanionFilter()


def test_companions_of_children_go_first_and_lists_of_referrers_not_at_all() -> None:
    roots = select_tags(VERSION, CHILDREN, Selection({"v1": "all", LIST_TAG: "all"}), TagFilter(), ALL)
    assert list(roots.roots.items()) == [(SIGNATURE_TAG, SIGNATURE), ("v1", INDEX)]
    assert list(roots.dropped) == [LIST_TAG]


def test_companions_that_are_excluded_or_not_asked_for_stay() -> None:
    selection = Selection({"v1": "all"})
    assert list(select_tags(VERSION, CHILDREN, selection, TagFilter(exclude=("*.sig",)), ALL).roots) == ["v1"]
    assert list(select_one(VERSION, CHILDREN, "stable", INDEX, CompanionFilter(())).roots) == ["stable"]


def test_a_digest_that_is_not_here_is_told() -> None:
    missing = Digest.of(b"missing")
    roots = select_tags(VERSION, CHILDREN, Selection(), TagFilter(include=(str(missing),)), ALL)
    assert roots.dropped == {str(missing): "not here"}


def test_each_tag_gets_its_action() -> None:
    wanted = {"new": INDEX, "same": CHILD, "moving": INDEX, "unknown": INDEX}
    there = {"new": None, "same": CHILD, "moving": CHILD}
    items = plan_push(wanted, there, {"unknown": "500"})
    assert [(item.tag, item.action) for item in items] == [
        ("new", "added"),
        ("same", "unchanged"),
        ("moving", "moved"),
        ("unknown", "failed"),
    ]


def test_a_mirror_deletes_what_is_not_here_but_no_companions_of_what_stays() -> None:
    stray = f"sha256-{Digest.of(b'other').encoded}.sig"
    listed = ["v1", "old", f"sha256-{INDEX.encoded}.att", LIST_TAG, stray]
    assert plan_deletions(listed, {"v1": INDEX}, [INDEX, CHILD]) == ["old", stray]


def test_manifests_within_are_looked_at_once() -> None:
    seen: set[Digest] = set()
    assert list(made_of(VERSION, CHILDREN, INDEX, seen)) == [INDEX, CHILD]
    assert list(made_of(VERSION, CHILDREN, INDEX, seen)) == []
    assert blobs_of(VERSION, CHILDREN, [INDEX, CHILD]) == {LAYER}
