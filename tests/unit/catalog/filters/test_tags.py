"""Which tags a filter keeps, and why it drops the others."""

import pytest
from semver import Version

from catalog.filters.platforms import PlatformFilter
from catalog.filters.semver import parse_range, parse_version
from catalog.filters.tags import Line, TagFilter, parse_tag_pattern
from oci.digest import Digest
from oci.errors import InvalidInput
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform

TAGS = ["v1.0", "v1.1", "v2.0-rc1", "latest", "V1.0"]


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        ((), (), TAGS),
        (("v1.*",), (), ["v1.0", "v1.1"]),
        (("v1.*", "latest"), (), ["v1.0", "v1.1", "latest"]),
        ((), ("*-rc*",), ["v1.0", "v1.1", "latest", "V1.0"]),
        (("v*",), ("v2*", "v1.0"), ["v1.1"]),
        (("v1.?",), (), ["v1.0", "v1.1"]),
        (("[vV]1.0",), (), ["v1.0", "V1.0"]),
        (("v1",), (), []),
    ],
)
def test_include_and_exclude(include: tuple[str, ...], exclude: tuple[str, ...], kept: list[str]) -> None:
    selection = TagFilter(include, exclude).select(TAGS)
    assert list(selection.kept) == kept
    assert set(selection.dropped) == set(TAGS) - set(kept)


def test_the_reason_names_the_glob() -> None:
    selection = TagFilter(("v*",), ("*-rc*",)).select(TAGS)
    assert selection.dropped == {
        "v2.0-rc1": "excluded by *-rc*",
        "latest": "matches no include",
        "V1.0": "matches no include",
    }


def test_what_is_no_tag_is_dropped_and_a_repeated_one_counts_once() -> None:
    selection = TagFilter().select(["a", "a", ".b", "c d", "../x", "é"])
    assert selection.kept == ("a",)
    assert set(selection.dropped.values()) == {"not a valid tag"}


@pytest.mark.parametrize(
    ("include", "kept"),
    [
        (("re:v[0-9.]+",), ["v1.0", "v1.1"]),
        (("re:v1",), []),
        (("semver:>=1.1",), ["v1.1"]),
        (("semver:>=2.0.0-rc0",), ["v2.0.0-rc1"]),
        (("semver:<2", "latest"), ["v1.0", "v1.1", "latest"]),
    ],
)
def test_regular_expressions_and_ranges(include: tuple[str, ...], kept: list[str]) -> None:
    tags = ["v1.0", "v1.1", "v2.0.0-rc1", "latest"]
    assert list(TagFilter(include).select(tags).kept) == kept


def test_the_newest_are_those_of_the_highest_versions() -> None:
    tags = ["1.9", "v1.10", "latest", "2.0.0-rc1", "2.0.0", "1.2"]
    selection = TagFilter(newest=2).select(tags)
    assert selection.kept == ("2.0.0-rc1", "2.0.0")
    assert selection.dropped["latest"] == "not a version, so not among the newest"
    assert selection.dropped["1.2"] == "not among the 2 newest"
    assert TagFilter((), ("semver:*", "*-rc*"), 2).select(tags).kept == ()
    assert TagFilter((), ("*-rc*",), 2).select(tags).kept == ("v1.10", "2.0.0")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("repository", ["2.1.0"]),
        ("major", ["1.10.2", "2.1.0"]),
        ("minor", ["1.9.1", "1.10.2", "2.0.3", "2.1.0"]),
    ],
)
def test_the_newest_of_each_line(line: Line, kept: list[str]) -> None:
    tags = ["1.9.0", "1.9.1", "1.10.2", "1.10.1", "2.0.3", "2.1.0", "edge"]
    selection = TagFilter(newest=1, line=line).select(tags)
    assert list(selection.kept) == kept
    assert set(selection.kept) | set(selection.dropped) == set(tags)


def test_a_digest_takes_a_manifest_and_no_tag() -> None:
    digest = Digest.of(b"x")
    chosen = TagFilter((digest, "v1.0"))
    assert (chosen.digests, chosen.named) == ((digest,), ("v1.0",))
    assert chosen.select(TAGS).kept == ("v1.0",)
    assert TagFilter((digest,)).select(TAGS).kept == ()
    with pytest.raises(InvalidInput, match="sha256:abc"):
        parse_tag_pattern("sha256:abc")


@pytest.mark.parametrize("include", [("v1.*",), ("re:v1",), ("semver:1",), (), ("v1", "v[12]")])
def test_a_pattern_needs_a_list_to_choose_from(include: tuple[str, ...]) -> None:
    assert TagFilter(include).named is None
    assert TagFilter(("v1",), newest=1).named is None


def test_every_tag_has_its_rule() -> None:
    selection = TagFilter(("v*", "latest"), ("*-rc*",)).select(TAGS)
    assert selection.rules == {"v1.0": "included by v*", "v1.1": "included by v*", "latest": "included by latest"}
    assert TagFilter(newest=1).select(["1.0"]).rules == {"1.0": "every tag is included, among the 1 newest"}
    assert selection.with_dropped({"latest": "gone"}).kept == ("v1.0", "v1.1")
    assert selection.with_kept({"V1.0": "wanted"}).dropped.keys() == {"v2.0-rc1"}


@pytest.mark.parametrize("pattern", ["re:(", "semver:", "semver:abc", "semver:1.2.3.4", "semver:>=1 nonsense"])
def test_a_pattern_that_cannot_be_read_is_told(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        parse_tag_pattern(pattern)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^1.2", "1.2.0 1.9.9 1.3", "2.0.0 1.1.9 1.3.0-rc1"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1", "1.0 1.9", "2.0"),
        (">=1.2 <2", "1.2 1.9.9", "2.0 1.1"),
        (">=1.2,<2", "1.2 1.9.9", "2.0 1.1"),
        ("1.2.x", "1.2.7", "1.3.0"),
        ("1.2", "1.2.7 1.2", "1.3"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0", "0.9.9", "1.0"),
        ("^1.2.3-rc1", "1.2.3-rc1 1.2.3-rc2 1.9.0 1.2.3", "1.4.0-rc1 2.0.0"),
        ("^1.0.0-rc1", "1.0.0 1.9", "2.0.0 0.9"),
        ("~1.2.3-rc.1", "1.2.3-rc.2 1.2.9", "1.3.0"),
        (">1.2", "1.3.0", "1.2.9 1.2.0"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2", "1.2.9", "1.3"),
        ("1 || 3", "1.5 3.0", "2.0"),
        ("*", "1.0 99", "1.0.0-rc1"),
        ("^1.2", "1.2.3_up4 v1.9.0_b.7", "2.0.0_up1 1.1.9_1 1.3.0-rc1_b2"),
        (">=1.2.3+up4 <2", "1.2.3 1.2.3_up1", "1.2.2_up9"),
    ],
)
def test_ranges_are_those_of_npm(text: str, inside: str, outside: str) -> None:
    fits = parse_range(text)
    assert [tag for tag in inside.split() if not fits(parse_version(tag) or Version(0))] == []
    assert [tag for tag in outside.split() if fits(parse_version(tag) or Version(0))] == []


def test_platforms_of_an_index() -> None:
    store = MemoryStore("team/app")
    amd64, arm64, bare = (pack_image(store, [{"file": name}]) for name in ("amd64", "arm64", "bare"))
    index = pack_index(
        store, [(amd64, Platform("linux", "amd64")), (arm64, Platform("linux", "arm64", "v8")), (bare, None)]
    )

    def kept(*wanted: str) -> list[Digest]:
        chosen = PlatformFilter(tuple(Platform.parse(text) for text in wanted))
        return [child.digest for _role, child in chosen.children_of_some(index)]

    assert kept() == [amd64.digest, arm64.digest, bare.digest]
    assert kept("linux/amd64") == [amd64.digest, bare.digest]
    assert kept("linux/aarch64") == [arm64.digest, bare.digest]
    with pytest.raises(InvalidInput, match="has none of linux/s390x; it has linux/amd64, linux/arm64/v8"):
        kept("linux/s390x")
    assert [child.digest for _role, child in PlatformFilter((Platform("linux", "s390x"),)).children(index)] == [
        bare.digest
    ]


def test_a_build_is_written_with_an_underscore_and_decides_between_equal_versions() -> None:
    tags = ["1.2.3_up9", "1.2.3_up10", "1.2.3", "1.2.4-rc1_b1", "1.2.2_9", "1.2_3_4", "nightly_1"]
    kept = TagFilter(newest=3).select(tags)
    assert set(kept.kept) == {"1.2.3_up9", "1.2.3_up10", "1.2.4-rc1_b1"}
    assert kept.dropped["1.2_3_4"] == kept.dropped["nightly_1"] == "not a version, so not among the newest"
    assert TagFilter(("semver:>=1.2.3",), newest=1).select(tags).kept == ("1.2.3_up10",)
    assert [tag for tag in tags if parse_version(tag) is None] == ["1.2_3_4", "nightly_1"]
