"""What is judged of a version, and what is left of it without what is refused; by values alone."""

from catalog.policy_gates.operations import judged_items, leave_out
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.kinds import signature_tag


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def version(tags: dict[str, str], *names: str, indexes: str = "", **subjects: str) -> Snapshot:
    """A version with manifests by name; `subjects` has the manifest that one refers to."""
    manifests = {
        digest(name): ManifestEntry(
            mediatypes.OCI_INDEX if name in indexes.split() else mediatypes.OCI_MANIFEST,
            1,
            "",
            digest(subjects[name]) if name in subjects else None,
        )
        for name in names
    }
    return Snapshot("team/app", 1, {tag: digest(name) for tag, name in tags.items()}, manifests)


def children(**parts: str) -> dict[Digest, tuple[Digest, ...]]:
    return {digest(parent): tuple(map(digest, some.split())) for parent, some in parts.items()}


def names(found: Snapshot, *known: str) -> set[str]:
    return {name for name in known if digest(name) in found.manifests}


def test_tags_are_judged_and_what_no_index_lists() -> None:
    found = version({"v1": "index", "amd64": "one"}, "index", "one", "two", "alone", "report", indexes="index")
    items = judged_items(found, children(index="one two", alone="layer report"))
    assert items == {
        "v1": digest("index"),
        "amd64": digest("one"),
        digest("alone"): digest("alone"),
        digest("report"): digest("report"),  # what no index calls its layer is no part
    }


def test_what_is_here_already_is_not_judged_again() -> None:
    found = version({"v1": "one", "v2": "two", "v3": "one"}, "one", "two", "alone")
    here = version({"v1": "one", "v2": "one"}, "one", "alone")
    assert judged_items(found, {}, here).keys() == {"v2", "v3"}


def test_what_is_refused_goes_with_its_parts_its_referrers_and_its_companions() -> None:
    tag = signature_tag(digest("bad"))
    found = version(
        {"good": "good", "bad": "bad", tag: "signature"},
        "good", "bad", "shared", "own", "signature", "report", "about", "more", indexes="good bad",
        report="bad", about="good", more="report",
    )  # fmt: skip
    left = leave_out(found, ["bad"], children(good="shared", bad="shared own", signature="layer"))
    assert left.tags.keys() == {"good"}
    assert names(left, "good", "bad", "shared", "own", "signature", "report", "about", "more") == {
        "good", "shared", "about",
    }  # fmt: skip
    assert leave_out(found, [], {}) is found


def test_a_digest_stays_under_another_tag_and_with_its_companions() -> None:
    tag = signature_tag(digest("one"))
    found = version({"v1": "one", "v2": "one", tag: "signature"}, "one", "signature")
    assert leave_out(found, ["v2"], {}).tags.keys() == {"v1", tag}


def test_a_refused_referrer_or_companion_goes_alone() -> None:
    tag = signature_tag(digest("one"))
    found = version({"v1": "one", tag: "fake"}, "one", "fake", "report", "on", report="one", on="report")
    left = leave_out(found, [tag, digest("report")], {})
    assert left.tags.keys() == {"v1"}
    assert names(left, "one", "fake", "report", "on") == {"one"}


def test_a_layer_that_bears_the_digest_of_a_refused_manifest_brings_it_not() -> None:
    found = version({"v1": "one"}, "one", "hidden", "statement", hidden="one", statement="one")
    left = leave_out(found, [digest("hidden")], children(statement="hidden"))
    assert names(left, "one", "hidden", "statement") == {"one", "statement"}
