"""A rate as people write it: so many requests in so much time."""

import re
from dataclasses import dataclass

from oci.errors import InvalidInput

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,6})?([smhd])")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `seconds`."""

    requests: int
    seconds: float


def parse_rate(text: str) -> Rate:
    """Read `100/6h`, `10/s`; raise InvalidInput."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise InvalidInput(f"invalid rate {text[:40]!r}: expected requests per time, such as 100/6h or 10/s")
    return Rate(int(found[1]), float(int(found[2] or 1) * _UNITS[found[3]]))
