"""Versions in the order of their ecosystem, ranges of them, and versions that attackers write."""

import time

import pytest

from catalog.documents.version_order import compare_versions, is_in_range, parse_version_range
from oci.errors import InvalidInput


@pytest.mark.parametrize(
    ("type_", "older", "newer"),
    [
        ("deb", "1.2-1", "1.10-1"), ("deb", "2.0", "1:0.1"), ("deb", "1.0~rc1", "1.0"), ("rpm", "1.0-9", "1.0-10"),
        ("rpm", "9.0", "1:1.0"), ("apk", "1.2.3-r1", "1.2.3-r10"), ("apk", "1.2_rc1", "1.2"), ("pypi", "1.0rc1", "1.0"),
        ("npm", "1.0.0-1", "1.0.0"), ("golang", "v1.2.0", "v1.10.0"), ("maven", "1.0-SNAPSHOT", "1.0"), ("gem", "1.0.pre", "1.0"),
        ("cargo", "1.2.0", "1.10.0"), ("", "1.2", "1.10"),
    ],
)  # fmt: skip
def test_each_ecosystem_has_its_order(type_: str, older: str, newer: str) -> None:
    assert (compare_versions(type_, older, newer), compare_versions(type_, newer, older)) == (-1, 1)
    assert compare_versions(type_, older, older) == 0


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("<1.2", ["1.0-1", "1.1"]), (">=1.1, <1.10", ["1.1", "1.2"]), ("1.1", ["1.1"]), ("==1.1", ["1.1"]),
        ("!=1.1", ["1.0-1", "1.2", "1.10"]), ("vers:deb/>=1.1|<1.10", ["1.1", "1.2"]), ("vers:npm/<2", []),
        ("", ["1.0-1", "1.1", "1.2", "1.10"]),
    ],
)  # fmt: skip
def test_ranges(text: str, inside: list[str]) -> None:
    wanted = parse_version_range(text)
    assert [one for one in ("1.0-1", "1.1", "1.2", "1.10") if is_in_range("deb", one, wanted)] == inside


@pytest.mark.parametrize("text", ["<", "<1,,", "a b", "^1.2", "vers:", "vers:x/1", "<1," * 500, ",".join(["<1"] * 21)])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid range"):
        parse_version_range(text)


def test_what_has_no_order_is_neither_in_nor_out() -> None:
    for type_, version in (("deb", ""), ("deb", "1 2"), ("conda", "1.0"), ("pypi", "newest"), ("deb", "1" * 201)):
        assert is_in_range(type_, version, parse_version_range("<2")) is None, (type_, version)
        assert is_in_range(type_, version, parse_version_range("vers:deb/<2")) is (None if type_ == "deb" else False)
    assert is_in_range("conda", "1.0", parse_version_range("1.0")) is True
    assert is_in_range("deb", "3.0", parse_version_range("<2,newest")) is False


def test_versions_of_attackers_take_no_time() -> None:
    parts = ("1", "1.", "a", "-", "1-", "~", "1.0-a.b", "1+", "_", "0a.", "1:", ".dev1")
    texts = [part * (200 // len(part)) + end for part in parts for end in ("", "!")]
    began = time.monotonic()
    for type_ in (
        "deb",
        "rpm",
        "apk",
        "pypi",
        "npm",
        "maven",
        "nuget",
        "gem",
        "golang",
        "conan",
        "alpm",
        "composer",
        "ebuild",
    ):
        for text in texts:
            compare_versions(type_, text[:200], "1.0")
    assert time.monotonic() - began < 3
