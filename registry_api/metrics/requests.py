"""Counts of requests: plain numbers, since each pull adds to them."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the classes of time, in seconds; one more class has the rest."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""The label of methods and paths that the registry does not know: clients make them up, and each label costs memory."""


class Series:
    """Requests of one route, method and status: the bytes of their responses, and how many took how long."""

    __slots__ = ("bytes", "classes", "seconds")

    def __init__(self, sent: int = 0, seconds: float = 0.0, classes: Iterable[int] = ()) -> None:
        self.bytes, self.seconds = sent, seconds
        self.classes = list(classes) or [0] * (len(BOUNDS) + 1)

    @property
    def count(self) -> int:
        """Return how many requests there were."""
        return sum(self.classes)

    def add(self, other: "Series") -> None:
        """Add the counts of another series."""
        self.bytes += other.bytes
        self.seconds += other.seconds
        self.classes = [mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)]

    def to_json(self) -> list[Any]:
        """Return the series as JSON has it."""
        return [self.bytes, self.seconds, self.classes]


Key = tuple[str, str, int]
"""Route, method and status."""


class RequestCounts:
    """Counts the requests of one process; used on its event loop."""

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}

    def count(self, key: Key, sent: int, seconds: float) -> None:
        """Count a request that is over, its response's bytes and its time."""
        try:
            found = self.series[key]
        except KeyError:
            found = self._series_of(key)
        found.bytes += sent
        found.seconds += seconds
        found.classes[bisect_left(BOUNDS, seconds)] += 1

    def _series_of(self, key: Key) -> Series:
        route, method, status = key
        return self.series.setdefault((route or OTHER, method if method in _METHODS else OTHER, status), Series())
