"""Whatever the rules and the content: nothing protected ever goes, nothing is left broken, and a second run changes nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from catalog.filters.facts import facts_of
from catalog.pull_counts import PullCount, sum_pulls
from catalog.retention.plan import RetentionPlan, plan_retention, plan_versions
from catalog.retention.rules import RetentionRule
from catalog.retention.times import Times
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest

NOW = datetime(2026, 1, 31, tzinfo=UTC)
DIGESTS = [Digest.of(str(number).encode()) for number in range(12)]
TAGS = ["latest", "stable", "v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0", "v2.1.0-rc1", "nightly", "pr-7"]
AGES = ["", "1d", "10d", "30d"]


@st.composite
def contents(draw: st.DrawFn) -> tuple[Snapshot, dict[Digest, tuple[Digest, ...]]]:
    """A version whose indexes and referrers point to manifests before them, and what these are made of."""
    count = draw(st.integers(1, len(DIGESTS)))
    manifests: dict[Digest, ManifestEntry] = {}
    children: dict[Digest, tuple[Digest, ...]] = {}
    for number, digest in enumerate(DIGESTS[:count]):
        earlier = st.sampled_from(DIGESTS[:number]) if number else st.nothing()
        kind = draw(st.sampled_from(["image", "index", "referrer"])) if number else "image"
        if kind == "index":
            children[digest] = tuple(dict.fromkeys(draw(st.lists(earlier, min_size=1, max_size=3))))
        media_type = mediatypes.OCI_INDEX if kind == "index" else mediatypes.OCI_MANIFEST
        manifests[digest] = ManifestEntry(media_type, 10, subject=draw(earlier) if kind == "referrer" else None)
    tags = draw(st.dictionaries(st.sampled_from(TAGS), st.sampled_from(DIGESTS[:count])))
    subject = draw(st.sampled_from(DIGESTS[:count]))
    if draw(st.booleans()):
        tags[f"sha256-{subject.encoded}.sig"] = draw(st.sampled_from(DIGESTS[:count]))
    return Snapshot("team/app", 1, tags, manifests), children


rules = st.builds(
    RetentionRule,
    name=st.just("rule"),
    pattern=st.just("team/**"),
    keep=st.lists(st.sampled_from(["stable", "v1.*", "re:v2.*", "semver:>=1.1"]), max_size=2).map(tuple),
    newest=st.none() | st.integers(1, 3),
    line=st.sampled_from(["repository", "major", "minor"]),
    set_within=st.sampled_from(AGES),
    pulled_within=st.sampled_from(AGES),
    labels=st.sampled_from([(), ("keep",)]),
    untagged_after=st.sampled_from(AGES),
    versions=st.none() | st.integers(1, 5),
)
ages = st.integers(0, 60).map(lambda days: NOW - timedelta(days=days))


@given(
    contents(),
    st.lists(rules, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(TAGS), ages),
    st.dictionaries(st.sampled_from(DIGESTS), ages),
    st.sets(st.sampled_from(DIGESTS), max_size=3),
    st.sampled_from([(), ("v1.*",), ("latest", "nightly")]),
    st.sets(st.sampled_from(TAGS), max_size=3),
)
def test_nothing_protected_goes_and_a_second_run_changes_nothing(
    found: tuple[Snapshot, dict[Digest, tuple[Digest, ...]]],
    some: list[RetentionRule],
    tags: dict[str, datetime],
    manifests: dict[Digest, datetime],
    labelled: set[Digest],
    immutable: tuple[str, ...],
    pulled: set[str],
) -> None:
    snapshot, children = found
    facts = {
        digest: facts_of(digest, kind="image", labels={"keep": "yes"} if digest in labelled else {})
        for digest in snapshot.manifests
    }
    pulls = sum_pulls({(tag, snapshot.tags[tag]): PullCount(1, NOW) for tag in pulled if tag in snapshot.tags})

    def plan(base: Snapshot) -> RetentionPlan:
        known: Mapping[Digest, object] = base.manifests
        return plan_retention(
            base,
            some,
            facts={digest: one for digest, one in facts.items() if digest in known},
            times=Times(tags, manifests),
            pulls=pulls,
            children=children,
            immutable=immutable,
            now=NOW,
        )

    first = plan(snapshot)
    left = first.left
    for tag, digest in snapshot.tags.items():
        is_plain = not tag.startswith("sha256-")
        if is_plain and any(fnmatchcase(tag, glob) for glob in immutable):
            assert left.tags[tag] == digest
        if is_plain and digest in labelled and any(rule.labels for rule in some):
            assert left.tags[tag] == digest
    assert set(left.tags.values()) <= left.manifests.keys()
    for digest in left.manifests:
        assert set(children.get(digest, ())) <= left.manifests.keys()
    judged = {item.name: item for item in first.items if item.kind == "tag"}
    assert all(item.goes == (name not in left.tags) for name, item in judged.items())
    if not any(rule.judges_tags for rule in some):
        assert judged == {}
    second = plan(left)
    assert (second.left.tags, second.left.manifests) == (left.tags, left.manifests)
    assert not any(item.goes for item in second.items)


@given(
    st.sets(st.integers(1, 30), min_size=1),
    st.lists(rules, max_size=3),
    st.sets(st.integers(1, 30)),
    st.sets(st.integers(1, 30)),
)
def test_versions_that_are_latest_pinned_or_served_stay(
    numbers: set[int], some: list[RetentionRule], pinned: set[int], served: set[int]
) -> None:
    items = plan_versions(sorted(numbers), some, pinned=pinned, served=served)
    gone = {int(item.name) for item in items if item.goes}
    assert not gone & (pinned | served | {max(numbers)})
    left = numbers - gone
    again = plan_versions(sorted(left), some, pinned=pinned, served=served)
    assert not any(item.goes for item in again)
