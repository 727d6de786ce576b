"""Byte ranges: of downloads (RFC 9110, section 14), and of upload chunks (distribution-spec, "Pushing a blob in chunks")."""

import re
from typing import NamedTuple

from oci.errors import RangeInvalid, UploadInvalid

_ONE_RANGE = re.compile(
    r"[ \t]*+([0-9]*+)[ \t]*+-[ \t]*+([0-9]*+)[ \t]*+", re.ASCII
)  # no way back: blanks cost one pass
_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?", re.ASCII)
_FAR = 10**18


class Span(NamedTuple):
    """Bytes `first` to `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Return the number of bytes."""
        return self.last - self.first + 1


def parse_byte_range(header: str, size: int) -> Span | None:
    """Return the part of `size` bytes that a Range header asks for; None means: ignore it and send all.

    Ignored are other units, several ranges, and what is no range at all, as RFC 9110 allows.
    Raises RangeInvalid where the range is one and nothing of it exists.
    """
    unit, equals, text = header.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None
    match = _ONE_RANGE.fullmatch(text)
    if match is None or match.groups() == ("", ""):
        return None
    first_text, last_text = match.groups()
    if not first_text:
        length = min(_number(last_text), size)
        span = Span(size - length, size - 1)
    else:
        last = _number(last_text) if last_text else size - 1
        span = Span(_number(first_text), min(last, size - 1))
    if span.length < 1:
        raise RangeInvalid(f"range {header[:100]!r} has nothing of the {size} bytes")
    return span


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return _FAR if len(digits) > 18 else int(digits or "0")


def parse_chunk(header: str) -> Span:
    """Read the Content-Range of an upload, `first-last`; raise UploadInvalid."""
    match = _CHUNK.fullmatch(header.strip())
    if match is None:
        raise UploadInvalid(f"Content-Range is {header[:100]!r}; expected first-last, such as 0-1023")
    span = Span(int(match[1]), int(match[2]))
    if span.length < 1:
        raise UploadInvalid(f"Content-Range {header[:100]!r} ends before it begins")
    return span


def upload_progress(offset: int) -> str:
    """Return the Range header of a session with `offset` bytes; 0-0 for an empty one too, which has no other form."""
    return f"0-{max(offset - 1, 0)}"
