"""The order of places to ask: one that has failed is left alone for a while, and longer each time in a row."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from oci.errors import RemoteCorrupt, RemoteError, RemoteRateLimited, RemoteUnavailable

FIRST, LONGEST = 5.0, 300.0
"""Seconds that a place cools down after one failure, doubled with each further one, and at most."""

_PLACES = 10_000
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PlaceHealth:
    """Failures in a row, and the time until which a place is asked only when no other is left."""

    failures: int = 0
    until: float = 0.0


def after_failure(health: PlaceHealth, now: float, at_least: float = 0.0) -> PlaceHealth:
    """Return the state after one more failure; failures while it cools down, of requests that were under way, count once."""
    if now < health.until:
        return PlaceHealth(health.failures, max(health.until, now + min(at_least, LONGEST)))
    pause = min(LONGEST, max(FIRST * 2.0**health.failures, at_least))
    return PlaceHealth(health.failures + 1, now + pause)


def after_success(health: PlaceHealth, now: float) -> PlaceHealth:
    """Return the state after a response; a response while it cools down was under way before."""
    return health if now < health.until else PlaceHealth()


class HealthBook:
    """The health of hosts as this process has met them; `clock` in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._by_host: dict[str, PlaceHealth] = {}

    def note(self, host: str, error: RemoteError | None) -> None:
        """Note a response (None) or an error. That content is missing or forbidden is no failure."""
        known = self._by_host.get(host)
        if isinstance(error, RemoteUnavailable | RemoteCorrupt | RemoteRateLimited):
            made = after_failure(known or PlaceHealth(), self._clock(), error.retry_after or 0.0)
            if known is None and len(self._by_host) >= _PLACES:
                self._by_host.clear()
            self._by_host[host] = made
        elif error is None and known is not None:
            self._by_host[host] = after_success(known, self._clock())

    def in_order(self, places: Iterable[_T], host_of: Callable[[_T], str]) -> list[_T]:
        """Return the places in their order, those that cool down last, and of these first the one whose time ends first."""
        now = self._clock()

        def rank(place: _T) -> float:
            until = self._by_host.get(host_of(place), PlaceHealth()).until
            return until if until > now else 0.0

        return sorted(places, key=rank)
