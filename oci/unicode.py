"""Text of clients and upstreams, made fit for databases, logs and terminals, in one way everywhere."""

import re

_UNFIT = re.compile("[\ud800-\udfff\0]")
REPLACEMENT = "\ufffd"


def fit_text(text: str, limit: int | None = None) -> str:
    """Return the text with U+FFFD for lone surrogates, as Go's JSON reads them, and for NUL; cut after `limit` characters."""
    return _UNFIT.sub(REPLACEMENT, text if limit is None else text[:limit])


def is_fit(text: str) -> bool:
    """Return whether the text stays as it is."""
    return _UNFIT.search(text) is None


_SPOILING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, ends of lines, changes of direction, halves of characters: what spoils a row, a log or a terminal."""

LONGEST = 2000
"""Characters that are kept of one text."""


def clean_text(text: str, *, longest: int = LONGEST) -> str:
    """Return the text with what is unfit written as an escape (`\\x00`), cut where it is too long."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return _SPOILING.sub(lambda found: _escaped(found[0]), cut)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def plain_text(text: str) -> str:
    """Return the text in printable ASCII, and short: what is left to try where even clean text was refused."""
    return ascii(text[:200])[1:-1]
