"""How much one caller may ask of this process; off unless the settings say otherwise."""

import time
from collections.abc import Callable

from oci.errors import TooManyRequests
from registry_api.recent import Recent

_REMEMBERED = 10_000
_BURST_SECONDS = 10.0


class RateLimit:
    """A token bucket for each identity: `rate` requests a second on average, ten seconds' worth of them at once. 0: no limit."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._burst = max(1.0, rate * _BURST_SECONDS)
        self._buckets: Recent[str, tuple[float, float]] = Recent(_REMEMBERED)

    def spend(self, identity: str) -> None:
        """Count one request; raise TooManyRequests with the seconds to wait when there are too many."""
        if not self._rate:
            return
        now = self._clock()
        left, since = self._buckets.get(identity) or (self._burst, now)
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1.0:
            raise TooManyRequests(
                f"more than {self._rate:g} requests a second; wait a moment", retry_after=(1.0 - left) / self._rate
            )
        self._buckets.keep(identity, (left - 1.0, now))
