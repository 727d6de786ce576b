"""The table: medians of alternating rounds, the ratio, and whether it reaches the goal. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One comparison: `ours` and `peer` hold one figure per round, in `unit`.

    `better` says whether more (a rate) or less (a time, a size) is better. `goal` is the least ratio that passes, or for
    a row without a peer the most that `ours` may be; None: the row is for information. `most` is the most that `ours` may be
    beside a peer that is shown for comparison.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    peer: tuple[float, ...] = ()
    goal: float | None = None
    better: Literal["more", "less"] = "more"
    note: str = ""
    most: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better ours is than the peer, by medians; None without a peer."""
        if not self.peer or not self.ours:
            return None
        ours, peer = median(self.ours), median(self.peer)
        return ours / peer if self.better == "more" else peer / ours

    @property
    def passed(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.most is not None and self.ours:
            return max(self.ours) <= self.most
        if self.goal is None or not self.ours:
            return None
        if self.ratio is not None:
            return self.ratio >= self.goal
        return max(self.ours) <= self.goal

    def as_json(self) -> dict[str, object]:
        """All figures, and what follows from them."""
        return {**asdict(self), "ratio": self.ratio, "passed": self.passed}


def figure(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Median and, of several, the range."""
    if not values:
        return "-"
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(median(values))} ({figure(min(values))}-{figure(max(values))})"


def goal_of(row: Row) -> str:
    """The goal as text: a least ratio, or a most."""
    if row.most is not None:
        return f"≤ {row.most:g} {row.unit}"
    if row.goal is None:
        return "-"
    return f"≥ {row.goal:g}x" if row.peer else f"≤ {row.goal:g} {row.unit}"


def render(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table that also reads well on a terminal."""
    heads = ("what", "unit", "ours", "peer", "ratio", "goal", "")
    verdicts = {True: "pass", False: "MISS", None: ""}
    cells = [
        (
            row.name,
            row.unit,
            spread(row.ours),
            spread(row.peer),
            "-" if row.ratio is None else f"{row.ratio:.2f}x",
            goal_of(row),
            verdicts[row.passed],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [heads, *cells]) for column in range(len(heads))]

    def line(values: Sequence[str]) -> str:
        return "| " + " | ".join(value.ljust(width) for value, width in zip(values, widths, strict=True)) + " |"

    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([line(heads), rule, *map(line, cells), *([""] if notes else []), *notes])
