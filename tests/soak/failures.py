"""Failed requests beside the faults that explain them."""

from collections import Counter
from collections.abc import Iterable, Iterator

from tests.soak.load import Seen

SETTLES = 15.0
"""Seconds after a fault in which requests may still fail."""


def fault_at(moment: float, faulty: Iterable[tuple[float, float, str]]) -> str | None:
    """Return the fault that a moment falls into, or comes soon after; None for none. A fault is its begin, end and name."""
    return next((name for begun, ended, name in faulty if begun <= moment <= ended + SETTLES), None)


def failure_lines(seen: Seen, faulty: Iterable[tuple[float, float, str]]) -> Iterator[str]:
    """Yield a line for each fault, and one for none, with the failed and lost requests by status or error. Pure."""
    faulty = list(faulty)
    counts: dict[str, Counter[str]] = {}
    for moment, status, target in seen.failed.values():
        fault = fault_at(moment, faulty) or "without a fault"
        counts.setdefault(fault, Counter())[f"{status} {'of a cache' if '/cache/' in target else 'of ours'}"] += 1
    for moment, text in seen.lost:
        fault = fault_at(moment, faulty) or "without a fault"
        counts.setdefault(fault, Counter())[f"lost, {text.partition('(')[0]}"] += 1
    for fault, found in sorted(counts.items()):
        yield f"{fault}: " + ", ".join(f"{count} x {what}" for what, count in found.most_common())
