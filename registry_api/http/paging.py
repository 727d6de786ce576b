"""Pages of sorted lists. Source: distribution-spec, "Listing Tags"; RFC 8288 for the Link header."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from oci.errors import PaginationInvalid


def parse_count(text: str | None) -> int | None:
    """Return the page size of the parameter `n`, None without one; raise PaginationInvalid."""
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise PaginationInvalid(f"invalid n {text[:50]!r}: expected a whole number, 0 or more")
    return int(text)


def next_link(path: str, parameters: Mapping[str, str]) -> str:
    """Return the Link header to the next page."""
    return f'<{quote(path)}?{urlencode(parameters)}>; rel="next"'
