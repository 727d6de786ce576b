"""How far a flow is: counters that the flow moves forward and that a terminal or an artifact shows."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from catalog.units import format_size


@dataclass(slots=True)
class Progress:
    """`done` of `total` tags, or what `unit` says, in the current phase; `moved` counts the bytes so far, which
    were `verb`: received, sent.

    `on_word` is told what people should know while it lasts, such as what the flow waits for.
    """

    phase: str = "starting"
    total: int = 0
    done: int = 0
    moved: int = 0
    unit: str = "tags"
    verb: str = "received"
    waits: Callable[[], str] = field(default=lambda: "", repr=False, compare=False)
    """Says for whom it is being waited, empty for nobody."""
    on_word: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def tell(self, text: str) -> None:
        """Tell something that is worth a line of its own."""
        if self.on_word is not None:
            self.on_word(text)

    def begin(self, phase: str, total: int) -> None:
        """Enter a phase with so many tags ahead."""
        self.phase, self.total, self.done = phase, total, 0

    def count_bytes(self, count: int) -> None:
        """Count bytes that were moved."""
        self.moved += count

    @property
    def percent(self) -> float:
        """Return how much of the phase is done, 0 to 100."""
        return 100.0 * self.done / self.total if self.total else 0.0

    def describe(self) -> str:
        """One line: phase, tags, bytes."""
        counted = f" {self.done} of {self.total} {self.unit}" if self.total else ""
        moved = f", {format_size(self.moved)} {self.verb}" if self.moved else ""
        waiting = self.waits()
        return f"{self.phase}{counted}{moved}{f', {waiting}' if waiting else ''}"


watched: ContextVar[Progress | None] = ContextVar("watched", default=None)
"""Set by whoever shows the progress of a flow that it runs in its own process."""
