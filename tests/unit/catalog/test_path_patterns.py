"""The language of path patterns: parts, depth, regular expressions; what cannot be read."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.path_patterns import matches, parse_path_glob, parse_path_pattern, select_paths
from oci.errors import InvalidInput

NAMES = ("team", "team/app", "team/sub/app", "other/app", "app")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("team/app", ("team/app",)),
        ("team/*", ("team/app",)),
        ("team/**", ("team", "team/app", "team/sub/app")),
        ("team/*/**", ("team/app", "team/sub/app")),
        ("*/app", ("team/app", "other/app")),
        ("**/app", ("team/app", "team/sub/app", "other/app")),
        ("*", ("team", "app")),
        ("**", NAMES),
        ("te?m/a*", ("team/app",)),
        ("te**", ("team", "team/app", "team/sub/app")),
        ("re:(team|other)/[a-z]+", ("team/app", "other/app")),
    ],
)
def test_what_fits(pattern: str, expected: tuple[str, ...]) -> None:
    assert parse_path_pattern(pattern) == pattern
    assert tuple(name for name in NAMES if matches(pattern, name)) == expected


@pytest.mark.parametrize("text", ["", "Team/app", "team app", "team/[ab]", "a" * 256, "re:", "re:a b"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"invalid pattern '.*': expected team/app, team/\* \(one part\)"):
        parse_path_pattern(text)


def test_a_regular_expression_that_cannot_be_read() -> None:
    with pytest.raises(InvalidInput, match=r"invalid pattern 're:\(': expected a regular expression: missing \)"):
        parse_path_pattern("re:(")


def test_selection() -> None:
    assert select_paths(NAMES) == list(NAMES)
    assert select_paths(NAMES, include=["team/**", "app"], exclude=["*/sub/**"]) == ["team", "team/app", "app"]


@pytest.mark.parametrize("pattern", ["*a" * 100 + "b", "**a" * 60 + "b", "a**" * 60 + "/**", "?*" * 60 + "b"])
def test_no_pattern_makes_a_match_long(pattern: str) -> None:
    assert matches(pattern, "a" * 255) is pattern.endswith("/**")


_LETTERS = st.sampled_from(["a", "b", "/", "*", "**", "?", "*a", "/**", "ab"])


@given(st.lists(_LETTERS, min_size=1, max_size=8).map("".join), st.text("ab/", max_size=12))
def test_both_ways_of_matching_agree(pattern: str, name: str) -> None:
    """What a regular expression says of a few wildcards, the states say of any number."""
    meanings = {"/**": "(?:/.+)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.findall(r"/\*\*$|\*+|.", pattern)
    kinds = ["**" if token.startswith("**") else token for token in tokens]
    expected = re.fullmatch("".join(meanings.get(kind) or re.escape(kind) for kind in kinds), name)
    assert matches(pattern, name) == (expected is not None)


def test_scopes_are_no_regular_expressions() -> None:
    with pytest.raises(InvalidInput, match="expected team/app"):
        parse_path_glob("re:(a+)+b")
