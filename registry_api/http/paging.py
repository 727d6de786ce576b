"""Pages of sorted lists. Source: distribution-spec, "Listing Tags"; RFC 8288 for the Link header."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from oci.errors import PaginationInvalid


def parse_count(text: str | None) -> int | None:
    """Read `n`, None where it was not given; raise PaginationInvalid."""
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise PaginationInvalid(f"n is {text[:50]!r}; expected a whole number, 0 or more")
    return int(text)


def next_link(path: str, parameters: Mapping[str, str]) -> str:
    """The Link header to the page after this one."""
    return f'<{quote(path)}?{urlencode(parameters)}>; rel="next"'
