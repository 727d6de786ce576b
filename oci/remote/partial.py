"""Parts of a blob: checks that a response is the requested part. Source: RFC 9110 section 14."""

import re

import httpx

from oci.remote.decoding import encodings_of

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,19})-(\d{1,19})/(?:\d+|\*)\s*", re.IGNORECASE)


class NoRangeError(Exception):
    """The registry does not send what was asked for: read all of it, from the beginning."""


def first_byte(response: httpx.Response, asked: int) -> int:
    """Return the offset at which a response begins to a request for the bytes from `asked` on; at most `asked`.

    Raises NoRangeError for a part that cannot be told, begins later, or is of an encoding and not of the blob.
    """
    if response.status_code == 416 and asked:
        raise NoRangeError
    if response.status_code != 206:
        return 0
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    first = int(found[1]) if found else None
    if not asked:
        return first or 0
    if first is None or first > asked or encodings_of(response):
        raise NoRangeError
    return first
