"""Rate limits for each caller of this process."""

import time
from collections.abc import Callable
from typing import NamedTuple

from oci.errors import TooManyRequests
from registry_api.bounded_cache import BoundedCache

_REMEMBERED = 10_000
_BURST_SECONDS = 10.0


class BucketSize(NamedTuple):
    """The size of a token bucket: tokens at once, and tokens refilled per second."""

    at_once: float
    each_second: float


class TokenBuckets:
    """Token buckets, one for each identity: `rate` requests per second on average, `burst` of them at once.

    A rate of 0 is no limit. The default burst is that of ten seconds.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float | None = None,
        reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._clock = rate, clock
        self._reason = reason or f"more than {rate:g} requests per second"
        self._burst = max(1.0, rate * _BURST_SECONDS if burst is None else burst)
        self._buckets: BoundedCache[str, tuple[float, float]] = BoundedCache(_REMEMBERED)

    def spend(self, identity: str) -> None:
        """Spend one token; raise TooManyRequests with the seconds to wait when none is left."""
        if not self._rate:
            return
        left, now = self._left(identity)
        if left < 1.0:
            raise TooManyRequests(f"{self._reason}; try again in a moment", retry_after=(1.0 - left) / self._rate)
        self._buckets.put(identity, (left - 1.0, now))

    def give_back(self, identity: str) -> None:
        """Return one token."""
        if self._rate:
            left, now = self._left(identity)
            self._buckets.put(identity, (min(self._burst, left + 1.0), now))

    def _left(self, identity: str) -> tuple[float, float]:
        now = self._clock()
        left, since = self._buckets.get(identity) or (self._burst, now)
        return min(self._burst, left + (now - since) * self._rate), now
