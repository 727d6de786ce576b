"""Totals of repositories and of patterns: tags and bytes of latest versions, in memory, moved by commits and the change feed."""

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from catalog.path_patterns import matches


class Total(NamedTuple):
    """Tags and bytes of a latest version, or of several together."""

    tags: int = 0
    bytes: int = 0

    def plus(self, other: "Total") -> "Total":
        """Return the sum of both."""
        return Total(self.tags + other.tags, self.bytes + other.bytes)

    def minus(self, other: "Total") -> "Total":
        """Return the difference to the other."""
        return Total(self.tags - other.tags, self.bytes - other.bytes)


class Totals:
    """The totals of all repositories, and the sums of those that fit the patterns that are watched; no I/O, from any thread."""

    def __init__(self) -> None:
        self._of: dict[str, Total] = {}
        self._sums: dict[str, Total] = {}
        self._guard = threading.Lock()

    def replace(self, totals: Mapping[str, Total]) -> None:
        """Replace the totals of all repositories."""
        with self._guard:
            self._of = dict(totals)
            self._sums = self._add_up(self._sums)

    def watch(self, patterns: Iterable[str]) -> None:
        """Keep the sums of these patterns, and of no others."""
        with self._guard:
            self._sums = self._add_up(patterns)

    def _add_up(self, patterns: Iterable[str]) -> dict[str, Total]:
        sums = {}
        for pattern in patterns:
            some = [total for name, total in self._of.items() if matches(pattern, name)]
            sums[pattern] = Total(sum(one.tags for one in some), sum(one.bytes for one in some))
        return sums

    def move(self, name: str, total: Total) -> None:
        """Set what a repository's latest version holds."""
        with self._guard:
            change = total.minus(self._of.get(name, Total()))
            self._of[name] = total
            for pattern, found in self._sums.items():
                if matches(pattern, name):
                    self._sums[pattern] = found.plus(change)

    def end(self, name: str) -> None:
        """Delete a repository's total."""
        self.move(name, Total())
        with self._guard:
            self._of.pop(name, None)

    def of(self, name: str) -> Total:
        """Return what one repository's latest version holds."""
        return self._of.get(name, Total())

    def sum(self, pattern: str) -> Total:
        """Return what all repositories that fit a watched pattern hold."""
        return self._sums.get(pattern, Total())
