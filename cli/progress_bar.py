"""A progress bar on the terminal, on standard error."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from catalog.units import format_duration, format_size
from cli.output import say
from flows.runs import progress

_INTERVAL = 0.2
LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""
_WINDOW = 15.0
"""Seconds over which a rate is taken."""


class Speedometer:
    """How fast a phase goes, by its last seconds: bytes a second, and the time that what is left will take."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._phase = clock, ""
        self._seen = deque[tuple[float, int, int]]()

    def describe(self, shown: progress.Progress) -> str:
        """Look at a progress; return its rate and the time left, as far as they are known."""
        now = self._clock()
        if shown.phase != self._phase:
            self._phase = shown.phase
            self._seen.clear()
        self._seen.append((now, shown.done, shown.moved))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW:
            self._seen.popleft()
        begun, done, received = self._seen[0]
        seconds, moved = now - begun, shown.done - done
        parts = []
        if seconds > 0 and shown.moved > received:
            parts.append(f"{format_size((shown.moved - received) / seconds)}/s")
        if seconds > 0 and moved > 0 and shown.total > shown.done:
            left = timedelta(seconds=round(seconds * (shown.total - shown.done) / moved))
            parts.append(f"about {format_duration(left)} left")
        return ", ".join(parts)


def make_bar() -> Progress:
    """Return a bar of tags with a text of bytes; it leaves nothing behind."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[received]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def make_percent_bar() -> Progress:
    """Return a bar of percent, for a flow run that another process runs."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


async def show_progress(shown: progress.Progress) -> None:
    """Show a progress until cancelled."""
    speed = Speedometer()
    with make_bar() as bar:
        task = bar.add_task("starting", total=None, received="")
        while True:
            received = f"{format_size(shown.moved)} {shown.verb}" if shown.moved else ""
            told = shown.waits() or ", ".join(filter(None, (received, speed.describe(shown))))
            bar.update(task, description=shown.phase, completed=shown.done, total=shown.total or None, received=told)
            await asyncio.sleep(_INTERVAL)


async def tell_progress(shown: progress.Progress) -> None:
    """Say now and then how far a flow is, how fast it goes and for whom it waits, until cancelled."""
    speed = Speedometer()
    speed.describe(shown)
    while True:
        await asyncio.sleep(LINE_EVERY)
        say(", ".join(filter(None, (shown.describe(), speed.describe(shown)))))
