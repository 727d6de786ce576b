"""What a cache lets go: pure rules over values."""

import itertools
from datetime import UTC, datetime, timedelta

from catalog.blobs.index import BlobRecord
from catalog.maintenance.cache_eviction import UsedBlob, Uses, plan_size, plan_unused
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, BEFORE, NEW = NOW - timedelta(days=60), NOW - timedelta(days=30), NOW - timedelta(days=1)


def digest(name: str) -> Digest:
    return Digest.of(name.encode())


def snapshot(tags: dict[str, str], manifests: dict[str, str | None]) -> Snapshot:
    """Of manifests by name, each with the name of its subject."""
    entries = {
        digest(name): ManifestEntry(mediatypes.OCI_MANIFEST, 1, "", digest(subject) if subject else None)
        for name, subject in manifests.items()
    }
    return Snapshot("cache/app", 1, {tag: digest(name) for tag, name in tags.items()}, entries)


def gone(
    found: Snapshot, used: dict[str, datetime], tags: dict[str, datetime] | None = None, **children: list[str]
) -> tuple[set[str], set[Digest]]:
    named = {digest(parent): [digest(part) for part in parts] for parent, parts in children.items()}
    uses = Uses(NOW, tags or {}, {digest(name): when for name, when in used.items()})
    planned = plan_unused(found, named, uses, before=BEFORE)
    return set(planned.tags), set(planned.manifests)


def test_a_tag_goes_with_its_manifest_and_stays_with_it() -> None:
    found = snapshot({"old": "a", "new": "b", "same": "b"}, {"a": None, "b": None})
    tags = {"old": OLD, "new": NEW, "same": OLD}
    assert gone(found, {"a": OLD, "b": NEW}, tags) == ({"old"}, {digest("a")})
    assert gone(found, {"a": OLD, "b": OLD}, {**tags, "old": NEW}) == ({"same"}, set())
    uses = Uses(NOW, tags, {digest("a"): OLD, digest("b"): NEW})
    assert uses.may_have_unused(BEFORE)
    assert not uses.may_have_unused(OLD)
    planned = plan_unused(found, {}, uses, before=BEFORE)
    assert planned.tags == {"old": "not used since 2025-12-31T00:00:00Z"}


def test_what_is_used_by_digest_alone_keeps_its_tag() -> None:
    found = snapshot({"v1": "a"}, {"a": None})
    assert gone(found, {"a": NEW}, {"v1": OLD}) == (set(), set())


def test_what_came_after_the_uses_were_read_stays() -> None:
    found = snapshot({"v1": "a"}, {"a": None})
    assert gone(found, {}, {}) == (set(), set())


def test_an_index_stays_with_a_part_that_is_used_and_takes_its_parts_along() -> None:
    found = snapshot({"v1": "outer"}, {"outer": None, "inner": None, "amd64": None, "arm64": None})
    children = {"outer": ["inner"], "inner": ["amd64", "arm64"]}
    used = dict.fromkeys(("outer", "inner", "amd64", "arm64"), OLD)
    assert gone(found, {**used, "arm64": NEW}, {"v1": OLD}, **children) == (set(), set())
    tags, manifests = gone(found, used, {"v1": OLD}, **children)
    assert (tags, manifests) == ({"v1"}, set(found.manifests))
    assert gone(found, used, {"v1": NEW}, **children) == (set(), set())


def test_a_part_of_two_indexes_stays_with_either() -> None:
    found = snapshot({"v1": "one", "v2": "two"}, {"one": None, "two": None, "base": None})
    used = dict.fromkeys(("one", "two", "base"), OLD)
    assert gone(found, used, {"v1": OLD, "v2": NEW}, one=["base"], two=["base"]) == ({"v1"}, {digest("one")})


def test_companions_live_and_die_with_their_subject() -> None:
    image = digest("image")
    signature = f"sha256-{image.encoded}.sig"
    found = snapshot(
        {"v1": "image", signature: "signed"},
        {"image": None, "signed": None, "sbom": "image", "of sbom": "sbom", "of nothing here": "elsewhere"},
    )
    used = dict.fromkeys(("image", "signed", "sbom", "of sbom", "of nothing here"), OLD)
    assert gone(found, {**used, "image": NEW}, {"v1": OLD, signature: OLD})[1] == {digest("of nothing here")}
    tags, manifests = gone(found, {**used, "sbom": NEW, "signed": NEW}, {"v1": OLD, signature: NEW})
    assert tags == {"v1", signature}
    assert manifests == set(found.manifests)
    assert gone(found, {**used, "of nothing here": NEW}, {"v1": NEW, signature: OLD}) == (set(), set())


def test_a_very_deep_index_is_no_trouble() -> None:
    names = [f"level {number}" for number in range(5000)]
    found = snapshot({"v1": names[0]}, dict.fromkeys(names))
    children = {one: [other] for one, other in itertools.pairwise(names)}
    assert gone(found, dict.fromkeys(names[:-1], OLD), {"v1": OLD}, **children) == (set(), set())


def test_the_size_is_reached_by_what_was_used_longest_ago() -> None:
    def blob(name: str, size: int, last: datetime) -> UsedBlob:
        return UsedBlob(BlobRecord(digest(name), size), last)

    small, large = blob("small", 10, OLD), blob("large", 30, OLD)
    middle, fresh = blob("middle", 50, BEFORE), blob("fresh", 100, NEW)
    blobs = [fresh, small, middle, large]
    assert plan_size(blobs, held=200, most=200) == []
    assert plan_size(blobs, held=200, most=199) == [large]
    assert plan_size(blobs, held=200, most=160) == [large, small]
    assert plan_size(blobs, held=200, most=120) == [large, small, middle]
    assert plan_size(blobs, held=1000, most=1) == [large, small, middle, fresh]  # and the rest must stay
