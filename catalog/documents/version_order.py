"""Versions of packages in the order of their ecosystem, by the type of its package URLs: `deb`, `rpm`, `apk`, `npm` and others.

The library `univers` knows the orders; it is loaded by the first comparison. Versions are texts of strangers: a long one, and one
that its ecosystem does not read, is in no order.
Source: VERS, a mostly universal version range specifier; the orders of each ecosystem.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from oci.errors import InvalidInput

LONGEST_VERSION = 200
"""Characters of a version that is compared."""

_LONGEST_RANGE = 1000
_MOST_CONDITIONS = 20
_CONDITION = re.compile(r"\s*(<=|>=|!=|==|<|>|=)?\s*([0-9A-Za-z][^\s<>=!,|]*)\s*")
_COMPARES: dict[str, Callable[[int], bool]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
}
_ORDERED_AS = {
    "bitnami": "generic",
    "gem": "gem",
    "swift": "generic",
    "pub": "generic",
    "alpine": "apk",
    "cocoapods": "generic",
}
"""Types whose versions are in another's order."""


class VersionRange(NamedTuple):
    """Conditions on a version, all of which hold; `vers` is a range in VERS notation instead, of packages of one type."""

    conditions: tuple[tuple[str, str], ...]
    vers: str = ""
    type: str = ""


def parse_version_range(text: str) -> VersionRange:
    """Read `<1.2`, `>=1.0,<1.2`, a single version, or `vers:deb/>=1.0|<1.2`; empty is any version. Raise InvalidInput. Pure."""
    text = text.strip()
    if len(text) > _LONGEST_RANGE:
        raise InvalidInput(f"invalid range: {len(text)} characters, expected {_LONGEST_RANGE} at most")
    if text.lower().startswith("vers:"):
        return VersionRange((), text, _vers_type(text))
    conditions = list[tuple[str, str]]()
    for part in text.split(",") if text else ():
        found = _CONDITION.fullmatch(part)
        if found is None or len(conditions) >= _MOST_CONDITIONS:
            raise InvalidInput(f"invalid range {text[:100]!r}: expected <1.2, >=1.0,<1.2, 1.1 or vers:deb/>=1.0|<1.2")
        conditions.append((_operator(found[1]), found[2]))
    return VersionRange(tuple(conditions))


def _operator(text: str | None) -> str:
    return "=" if text in (None, "==") else str(text)


def _vers_type(text: str) -> str:
    """Return the type that a range in VERS notation is of; raise InvalidInput for one that `univers` cannot read."""
    try:
        return str(_vers_range(text).scheme)
    except Exception as error:  # noqa: BLE001  # whatever a library raises for a text of a stranger
        raise InvalidInput(f"invalid range {text[:100]!r}: {str(error)[:200]}") from None


def is_in_range(type_: str, version: str, wanted: VersionRange) -> bool | None:
    """Return whether a version of a package type is in a range; None where it cannot be compared. Pure."""
    if wanted.vers:
        return _is_in_vers(type_, version, wanted)
    results = [
        version == bound if operator == "=" and version == bound else _holds(type_, version, operator, bound)
        for operator, bound in wanted.conditions
    ]
    if False in results:
        return False
    return None if None in results else True


def _holds(type_: str, version: str, operator: str, bound: str) -> bool | None:
    order = compare_versions(type_, version, bound)
    return None if order is None else _COMPARES[operator](order)


def _is_in_vers(type_: str, version: str, wanted: VersionRange) -> bool | None:
    if _ORDERED_AS.get(type_, type_) != wanted.type:
        return False
    parsed = _parse_version(type_, version)
    if parsed is None:
        return None
    try:
        return bool(parsed in _vers_range(wanted.vers))
    except Exception:  # noqa: BLE001  # whatever a library raises for a text of a stranger
        return None


@lru_cache(maxsize=100)
def _vers_range(text: str) -> Any:
    from univers.version_range import VersionRange as VersRange

    return VersRange.from_string(text)  # type: ignore[no-untyped-call]  # univers has no types


@lru_cache(maxsize=50_000)
def compare_versions(type_: str, one: str, other: str) -> int | None:
    """Return -1, 0 or 1 as one version comes before, with or after another; None where they cannot be compared. Pure."""
    if one == other and one:
        return 0
    first, second = _parse_version(type_, one), _parse_version(type_, other)
    if first is None or second is None:
        return None
    try:
        return 0 if first == second else -1 if first < second else 1
    except Exception:  # noqa: BLE001  # whatever a library raises for a text of a stranger
        return None


@lru_cache(maxsize=50_000)
def _parse_version(type_: str, version: str) -> Any:
    from univers.version_range import RANGE_CLASS_BY_SCHEMES

    if not 0 < len(version) <= LONGEST_VERSION or not version.isprintable() or " " in version:  # univers drops blanks
        return None
    order = _ORDERED_AS.get(type_, type_) or "generic"
    kind = getattr(RANGE_CLASS_BY_SCHEMES.get(order), "version_class", None)
    if kind is None or order in ("all", "none"):
        return None
    try:
        return kind(version)
    except Exception:  # noqa: BLE001  # whatever a library raises for a text of a stranger
        return None
