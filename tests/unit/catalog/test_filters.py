"""Which tags a filter keeps, and why it drops the others."""

import pytest
from semver import Version

from catalog.filters import PlatformFilter, parse_pattern, select_tags
from catalog.version_ranges import parse_range, parse_version
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
    selection = select_tags(TAGS, include=include, exclude=exclude)
    assert list(selection.kept) == kept
    assert set(selection.dropped) == set(TAGS) - set(kept)


def test_the_reason_names_the_glob() -> None:
    selection = select_tags(TAGS, include=["v*"], exclude=["*-rc*"])
    assert selection.dropped == {
        "v2.0-rc1": "excluded by *-rc*",
        "latest": "matches no include",
        "V1.0": "matches no include",
    }


def test_what_is_no_tag_is_dropped_and_a_repeated_one_counts_once() -> None:
    selection = select_tags(["a", "a", ".b", "c d", "../x", "é"])
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
    assert list(select_tags(tags, include=include).kept) == kept


def test_the_newest_are_those_of_the_highest_versions() -> None:
    tags = ["1.9", "v1.10", "latest", "2.0.0-rc1", "2.0.0", "1.2"]
    selection = select_tags(tags, newest=2)
    assert selection.kept == ("2.0.0-rc1", "2.0.0")
    assert selection.dropped["latest"] == "not a version, so not among the newest"
    assert selection.dropped["1.2"] == "not among the 2 newest"
    assert select_tags(tags, exclude=["semver:*", "*-rc*"], newest=2).kept == ()
    assert select_tags(tags, exclude=["*-rc*"], newest=2).kept == ("v1.10", "2.0.0")


@pytest.mark.parametrize("pattern", ["re:(", "semver:", "semver:abc", "semver:1.2.3.4", "semver:>=1 nonsense"])
def test_a_pattern_that_cannot_be_read_is_told(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        parse_pattern(pattern)


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
