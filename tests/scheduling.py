"""The order of the modules in a run of several processes: what took longest comes first, so that no module is alone at the end.

`tests/durations.txt` says what each took; `make test ARGS=--record-durations` writes it again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DURATIONS = ROOT / "tests" / "durations.txt"


def module_of(node: str) -> str:
    """Return the file of a test's id."""
    return node.partition("::")[0]


def longest_first(nodes: Sequence[str], durations: Mapping[str, float]) -> list[int]:
    """Return the places of tests in their new order, by module; a module that is not known yet may be long. Pure."""
    first: dict[str, int] = {}
    for place, node in enumerate(nodes):
        first.setdefault(module_of(node), place)

    def rank(place: int) -> tuple[float, int, int]:
        module = module_of(nodes[place])
        return -durations.get(module, float("inf")), first[module], place

    return sorted(range(len(nodes)), key=rank)


def parse_durations(lines: Iterable[str]) -> dict[str, float]:
    """Read lines of seconds and a module."""
    return {module: float(seconds) for seconds, module in (line.split() for line in lines)}


def format_durations(durations: Mapping[str, float]) -> str:
    """Write them, the longest first."""
    ordered = sorted(durations.items(), key=lambda one: (-round(one[1], 1), one[0]))
    return "".join(f"{seconds:.1f} {module}\n" for module, seconds in ordered)


def read_durations() -> dict[str, float]:
    """Return what was recorded."""
    return parse_durations(DURATIONS.read_text().splitlines())


class Recorder:
    """Adds up the seconds of each module's tests with their fixtures, and writes them at the end; others keep what they had."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[module_of(report.nodeid)] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self) -> None:
        found = {**read_durations(), **self._seconds}
        DURATIONS.write_text(format_durations({module: found[module] for module in found if (ROOT / module).exists()}))
