"""A progress bar on the terminal, on standard error."""

import asyncio

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

from catalog.units import format_size
from cli.output import say
from flows.runs import progress

_INTERVAL = 0.2
LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


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
    with make_bar() as bar:
        task = bar.add_task("starting", total=None, received="")
        while True:
            received = shown.waits() or (format_size(shown.received) if shown.received else "")
            bar.update(
                task, description=shown.phase, completed=shown.done, total=shown.total or None, received=received
            )
            await asyncio.sleep(_INTERVAL)


async def tell_waits(shown: progress.Progress) -> None:
    """Say now and then for whom a flow waits, until cancelled; nothing while bytes come."""
    while True:
        await asyncio.sleep(LINE_EVERY)
        if shown.waits():
            say(shown.describe())
