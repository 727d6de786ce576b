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
    """Requests of one route, method and status: how many, the bytes of their responses, and how long they took."""

    __slots__ = ("bytes", "classes", "count", "seconds")

    def __init__(self, count: int = 0, sent: int = 0, seconds: float = 0.0, classes: Iterable[int] = ()) -> None:
        self.count, self.bytes, self.seconds = count, sent, seconds
        self.classes = list(classes) or [0] * (len(BOUNDS) + 1)

    def add(self, other: "Series") -> None:
        """Add the counts of another series."""
        self.count += other.count
        self.bytes += other.bytes
        self.seconds += other.seconds
        self.classes = [mine + theirs for mine, theirs in zip(self.classes, other.classes, strict=True)]

    def to_json(self) -> list[Any]:
        """Return the series as JSON has it."""
        return [self.count, self.bytes, self.seconds, self.classes]


Key = tuple[str, str, int]
"""Route, method and status."""


class RequestCounts:
    """Counts the requests of one process; used on its event loop."""

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}

    def count(self, route: str, method: str, status: int, sent: int, seconds: float) -> None:
        """Count a request that is over."""
        key = (route, method, status)
        found = self.series.get(key)
        if found is None:
            key = (route or OTHER, method if method in _METHODS else OTHER, status)
            found = self.series.get(key)
            if found is None:
                found = self.series[key] = Series()
        found.count += 1
        found.bytes += sent
        found.seconds += seconds
        found.classes[bisect_left(BOUNDS, seconds)] += 1
