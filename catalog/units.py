"""Sizes and ages as people write them."""

import re

from oci.errors import InvalidInput

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: str) -> int:
    """Read `500`, `50MB`, `1.5 GB` (powers of 1000) or `2GiB` (of 1024) as bytes; raise InvalidInput."""
    found = re.fullmatch(r"\s*+(\d{1,15}(?:\.\d{1,3})?)\s*+([kmgt]i?|)b?\s*+", text, re.IGNORECASE)
    if found is None:
        raise InvalidInput(f"{text[:50]!r} is no size; write it as 500, 50MB, 1.5GB or 2GiB")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def parse_age(text: str) -> float:
    """Read `90s`, `30m`, `12h`, `30d` or `4w` as seconds; raise InvalidInput."""
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw])\s*", text, re.IGNORECASE)
    if found is None:
        raise InvalidInput(f"{text[:50]!r} is no age; write it as 12h, 30d or 4w")
    return float(found[1]) * _AGES[found[2].lower()]
