"""Which manifests of a sync may have companions."""

from dataclasses import replace

from catalog.filters.tags import Selection
from flows.runs.metering import StagedManifest
from flows.sync.companions import selected_manifests
from flows.sync.resolution import Resolved
from flows.sync.selection import Selected
from tests.unit.flows.sync.versions import base_of, descriptor, digest, staged


def test_children_of_the_base_and_of_what_was_copied_are_selected_too() -> None:
    base = base_of({"old": "held-index"}, untagged=("held-child",))
    tags = {"old": descriptor("held-index"), "new": descriptor("index"), "bad": descriptor("broken")}
    resolved = replace(
        Resolved.of(Selected(Selection(dict.fromkeys(tags, "all")), "additive")), pointing=tags, failed={"bad": "500"}
    )
    copied = staged("child") | {digest("index"): StagedManifest(descriptor("index"), None, (descriptor("child"),))}
    children = {digest("held-index"): (digest("held-child"), digest("a blob"))}
    selected = selected_manifests(resolved, base, children=children, staged=copied)
    assert selected == {digest(name) for name in ("held-index", "held-child", "index", "child")}
