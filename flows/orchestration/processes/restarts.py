"""Processes that are started again when they end, after pauses that grow, so that the others need not end with them."""

import time
from collections.abc import Callable

from flows.orchestration.processes.children import Child, Processes

LONGEST_PAUSE = 60.0
STEADY_SECONDS = 300.0
"""A process that ran for so long begins anew with the shortest pause."""

Start = Callable[[bool], Child]
"""Starts the process; True says that it is not the first time."""


def restart_pause(failures: int) -> float:
    """Seconds before another start after so many failures in a row, the first of which counts 1."""
    return min(float(2 ** (min(failures, 10) - 1)), LONGEST_PAUSE)


class Restarted:
    """One process that runs as long as this does. Call `tend` now and then, from the main thread.

    `say` is told when it ends and when it is started again.
    """

    def __init__(
        self,
        processes: Processes,
        start: Start,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes, self._start, self._say, self._clock = processes, start, say, clock
        self._child: Child | None = start(False)
        self._started_at = clock()
        self._failures, self._next_at = 0, 0.0

    @property
    def child(self) -> Child:
        """The process as it runs now; an error while it is down."""
        assert self._child is not None
        return self._child

    def tend(self) -> None:
        """Notice that it has ended, or start it again once the pause is over."""
        now = self._clock()
        if self._child is None:
            if now >= self._next_at:
                self._child, self._started_at = self._start(True), now
        elif self._child.has_ended:
            self._fall(self._child, now)
            self._child = None

    def _fall(self, child: Child, now: float) -> None:
        self._failures = 1 if now - self._started_at >= STEADY_SECONDS else self._failures + 1
        pause = restart_pause(self._failures)
        self._processes.forget(child)
        self._next_at = now + pause
        self._say(
            f"{child.name} ended with exit code {child.process.returncode}; it is started again in {pause:.0f} s ({child.log})"
        )
