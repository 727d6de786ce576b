"""How much one caller may ask of this process; off unless the settings say otherwise."""

import time
from collections import OrderedDict
from collections.abc import Callable

from oci.errors import TooManyRequests

_REMEMBERED = 10_000
_BURST_SECONDS = 10.0


class RateLimit:
    """A token bucket for each identity: `rate` requests a second on average, ten seconds' worth of them at once. 0: no limit."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._burst = max(1.0, rate * _BURST_SECONDS)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def spend(self, identity: str) -> None:
        """Count one request; raise TooManyRequests with the seconds to wait when there are too many."""
        if not self._rate:
            return
        now = self._clock()
        left, since = self._buckets.get(identity, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1.0:
            raise TooManyRequests(
                f"more than {self._rate:g} requests a second; wait a moment", retry_after=(1.0 - left) / self._rate
            )
        self._buckets[identity] = (left - 1.0, now)
        self._buckets.move_to_end(identity)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
