"""Semantic versions in tags, and ranges of them as npm writes them. Source: semver.org 2.0.0; node-semver, "Ranges"."""

import re
from collections.abc import Callable

from semver import Version

from oci.errors import InvalidInput

_COMPARATOR = re.compile(
    r"(>=|<=|>|<|=|\^|~)?\s*v?(\d+)(?:\.(\d+|x|\*))?(?:\.(\d+|x|\*))?(-[0-9A-Za-z.-]+)?(?:[+_][0-9A-Za-z.-]+)?"
)

InRange = Callable[[Version], bool]


def parse_version(tag: str) -> Version | None:
    """Return the version that a tag is, a leading `v` aside; `1.2` counts as 1.2.0. None for any other tag.

    A tag cannot hold the `+` before a version's build, so a `_` stands for it: helm pushes chart 1.2.3+up4 as the tag 1.2.3_up4.
    Source: Helm, "Use OCI-based registries".
    """
    try:
        return Version.parse(tag.removeprefix("v").replace("_", "+", 1), optional_minor_and_patch=True)
    except (ValueError, TypeError):
        return None


Newness = tuple[Version, tuple[tuple[bool, int, str], ...]]


def newness(version: Version) -> Newness:
    """Return the key that orders versions; equal ones by their builds, numbers by value, as semver leaves open."""
    parts = re.findall(r"\d+|[^\d.]+", version.build or "")
    return version, tuple((not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts)


def parse_range(text: str) -> InRange:
    """Read a range: comparators that all have to hold, parted by blanks or commas; `||` between ranges means either.

    Comparators are `>=1.2`, `>1`, `<=2.0.1`, `<2`, `=1.2.3`, `^1.2` (same major), `~1.2` (same minor), `1.2.x` or `1.2`. As
    with npm, a pre-release is in a range only when the range names a pre-release of the same version, and a build
    (`1.2.3+up4`) is not looked at. Raises InvalidInput.
    """
    alternatives = [_parse_all(part) for part in text.split("||")]
    return lambda version: any(fits(version) for fits in alternatives)


def _parse_all(text: str) -> InRange:
    bounds: list[tuple[str, Version]] = []
    rest = text.replace(",", " ").strip()
    if not rest:
        raise InvalidInput("a range of versions is empty; expected for example semver:>=1.2 <2")
    if rest == "*":
        return lambda version: not version.prerelease
    while rest:
        match = _COMPARATOR.match(rest)
        if match is None or (match.end() < len(rest) and not rest[match.end()].isspace()):
            raise InvalidInput(
                f"{text.strip()!r} is not a range of versions at {rest!r}; expected for example >=1.2 <2"
            )
        bounds += _bounds_of(match)
        rest = rest[match.end() :].lstrip()
    named = {(bound.major, bound.minor, bound.patch) for _sign, bound in bounds if bound.prerelease}

    def fits(version: Version) -> bool:
        if version.prerelease and (version.major, version.minor, version.patch) not in named:
            return False
        return all(_holds(version, sign, bound) for sign, bound in bounds)

    return fits


def _holds(version: Version, sign: str, bound: Version) -> bool:
    found = version.compare(bound)
    return {">=": found >= 0, ">": found > 0, "<": found < 0, "<=": found <= 0}[sign]


def _bounds_of(match: re.Match[str]) -> list[tuple[str, Version]]:
    """Return the lower and upper bounds that one comparator means."""
    sign = match[1] or "="
    minor, patch = (None if part in (None, "x", "*") else int(part) for part in (match[3], match[4]))
    major = int(match[2])
    low = Version(major, minor or 0, patch or 0, (match[5] or "").removeprefix("-") or None)
    above = low.bump_major() if minor is None else low.bump_minor() if patch is None else low.bump_patch()
    if sign == "^":
        top = low.bump_major() if major or minor is None else low.bump_minor() if minor or patch is None else above
        return [(">=", low), ("<", top)]
    if sign == "~":
        top = low.bump_major() if minor is None else Version(major, minor + 1, 0)
        return [(">=", low), ("<", top)]
    if sign == "=":
        return [(">=", low), ("<=", low)] if patch is not None else [(">=", low), ("<", above)]
    if sign == ">":
        return [(">", low)] if patch is not None else [(">=", above)]
    if sign == "<=":
        return [("<=", low)] if patch is not None else [("<", above)]
    return [(sign, low)]
