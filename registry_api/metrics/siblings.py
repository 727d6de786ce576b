"""Counts of all processes that share one socket: each leaves its own in a file, since a scrape reaches any of them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry_api.metrics.requests import Key, Series

FOLDER = "metrics"
EVERY = 2.0
"""Seconds between two writings of a process's counts."""

Numbers = Mapping[tuple[str, ...], float]
"""Counters by name and labels."""


class Counts:
    """The requests and the other counters of one process, or the sums of several."""

    def __init__(self, requests: Mapping[Key, Series], numbers: Numbers) -> None:
        self.requests, self.numbers = dict(requests), dict(numbers)

    def add(self, other: "Counts") -> None:
        """Add the counts of another process."""
        for key, series in other.requests.items():
            if key in self.requests:
                summed = Series()
                summed.add(self.requests[key])
                summed.add(series)
                self.requests[key] = summed
            else:
                self.requests[key] = series
        for name, value in other.numbers.items():
            self.numbers[name] = self.numbers.get(name, 0.0) + value

    def dump(self) -> str:
        """Return the counts as JSON."""
        requests = [[*key, *series.to_json()] for key, series in self.requests.items()]
        return json.dumps(
            {"requests": requests, "numbers": [[list(key), value] for key, value in self.numbers.items()]}
        )


def load(text: str) -> Counts:
    """Return counts from their JSON; raise ValueError for another text."""
    document: Any = json.loads(text)
    requests = {
        (route, method, status): Series(sent, seconds, classes)
        for route, method, status, sent, seconds, classes in document["requests"]
    }
    return Counts(requests, {tuple(key): value for key, value in document["numbers"]})


def begin(root: Path) -> None:
    """Forget the counts of earlier starts. Those of a process that died since count on: a sum never falls."""
    for file in (root / FOLDER).glob("*.json"):
        file.unlink(missing_ok=True)


def leave_file(root: Path, counts: Counts) -> None:
    """Write this process's counts for the others."""
    folder = root / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    made = folder / f"{os.getpid()}.new"
    made.write_text(counts.dump())
    made.replace(folder / f"{os.getpid()}.json")


def with_siblings(root: Path, own: Counts) -> Counts:
    """Return this process's counts with what the others have left."""
    total = Counts(own.requests, own.numbers)
    for file in sorted((root / FOLDER).glob("*.json")):
        if file.stem != str(os.getpid()):
            try:
                total.add(load(file.read_text()))
            except (OSError, ValueError, KeyError, TypeError):  # being replaced, or of another release
                continue
    return total
