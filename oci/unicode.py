"""Text that is not Unicode, or that databases refuse: repaired in one way everywhere."""

import re

_UNFIT = re.compile("[\ud800-\udfff\0]")
REPLACEMENT = "\ufffd"


def fit_text(text: str, limit: int | None = None) -> str:
    """Return the text with U+FFFD for lone surrogates, as Go's JSON reads them, and for NUL; cut after `limit` characters."""
    return _UNFIT.sub(REPLACEMENT, text if limit is None else text[:limit])


def is_fit(text: str) -> bool:
    """Return whether the text stays as it is."""
    return _UNFIT.search(text) is None
