"""Pages of a list: where the next one is. Source: RFC 8288 section 3; distribution-spec 1.1, "Content Discovery"."""

import re
from collections.abc import Iterable, Mapping

import httpx

_TARGET = re.compile(r"[\s,]*<([^>]*)>")
_PARAMETER = re.compile(r"""\s*;\s*([^\s=;,"]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?""")
_LIMITS_OF = 50
"""Limits that servers put on pages are multiples of it."""


def parse_links(values: Iterable[str]) -> list[tuple[str, Mapping[str, str]]]:
    """Return all links of all Link fields: target, and parameters with names in lower case; malformed ones are skipped."""
    found: list[tuple[str, Mapping[str, str]]] = []
    for value in values:
        position = 0
        while match := _TARGET.match(value, position):
            position = match.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(value, position):
                name, quoted, plain = parameter.groups()
                parameters.setdefault(name.lower(), plain or "" if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
                position = parameter.end()
            found.append((match[1], parameters))
    return found


def next_page(response: httpx.Response) -> str | None:
    """Path and query of the next page; None for the last one. Its host does not count: a proxy may hide the registry's own name.

    Raises ValueError for a Link that says neither which page it is about, nor where that is.
    """
    links = parse_links(response.headers.get_list("link"))
    for target, parameters in links:
        if "next" in parameters.get("rel", "").lower().split():
            try:
                path = response.request.url.join(target).raw_path.decode("ascii")
            except (httpx.InvalidURL, ValueError):
                raise ValueError("its next page is at no address") from None
            return f"/{path.lstrip('/')}"  # two slashes would name another host
    if response.headers.get("link", "").strip() and not any("rel" in parameters for _target, parameters in links):
        raise ValueError("it has a link that does not say what it is")
    return None


def may_be_cut(count: int, asked: int) -> bool:
    """Return whether a page without a link to another may lack entries nevertheless.

    It may where it has as many entries as were asked for, or a round number of them, as limits are.
    """
    return count == asked or (count > 0 and count % _LIMITS_OF == 0)
