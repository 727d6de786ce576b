"""Which tags a filter keeps, and why it drops the others."""

import pytest

from flows.filters import select_tags

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
