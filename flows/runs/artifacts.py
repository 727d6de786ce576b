"""What a flow run leaves to be seen in Prefect: its progress while it runs, and the table or report of its result.

A result has a key, by which Prefect keeps its history: of one operation on one mirror of one home. A progress has none.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from catalog.settings import Settings, read_settings
from flows.console.charts import link
from flows.console.home_id import home_id
from flows.console.links import repository_page
from flows.engine.artifacts import ShownProgress, leave_report, leave_table
from flows.runs.plan_items import PlanItem
from flows.runs.plan_tables import table_rows
from flows.runs.progress import Progress

INTERVAL = 2.0
"""Seconds between two updates of the progress."""

_LONGEST_NAME = 80


def artifact_key(kind: str, name: str, home: str) -> str:
    """Return a key as Prefect wants it, lower-case letters, digits and dashes: another for each name and each home."""
    readable = re.sub("[^a-z0-9]+", "-", name.lower())[:_LONGEST_NAME].strip("-")
    return f"{kind}-{readable}-{hashlib.sha256(f'{home} {name}'.encode()).hexdigest()[:8]}"


@asynccontextmanager
async def progress_artifact(progress: Progress) -> AsyncIterator[None]:
    """Show a flow's progress while it runs, from INTERVAL on; a shorter flow leaves its end: done, or in which phase it failed.

    A flow does not fail for that.
    """
    shown = _ShownUpdates(progress)
    updates = asyncio.create_task(shown.update())
    try:
        yield
        progress.phase = "done"
    except BaseException:
        progress.phase = f"failed while {progress.phase}"
        raise
    finally:
        updates.cancel()
        with suppress(asyncio.CancelledError):
            await updates
        await shown.show()


class _ShownUpdates:
    """Shows a progress, one update at a time."""

    def __init__(self, progress: Progress) -> None:
        self._shown, self._progress = ShownProgress(), progress
        self._turn = asyncio.Lock()

    async def update(self) -> None:
        """Show it from INTERVAL on, as often."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.show()

    async def show(self) -> None:
        """Show how far the flow is now."""
        async with self._turn:
            percent = 100.0 if self._progress.phase == "done" else self._progress.percent
            await self._shown.show(percent, self._progress.describe())


async def result_artifact(kind: str, repository: str, summary: str, items: Sequence[PlanItem]) -> None:
    """Keep the table of what became of each tag, with a link to the repository's page."""
    settings = read_settings()
    page = link(repository, repository_page(settings, repository))
    await table_artifact(kind, repository, f"{summary}\n\n{page}", table_rows(items), settings=settings)


async def table_artifact(
    kind: str, name: str, summary: str, rows: Iterable[Mapping[str, object]], *, settings: Settings | None = None
) -> None:
    """Keep a table. A flow does not fail because its result cannot be shown."""
    key = artifact_key(kind, name, home_id(settings or read_settings()))
    await leave_table(key, [dict(row) for row in rows], summary)


async def report_artifact(kind: str, name: str, summary: str, text: str) -> None:
    """Keep a report in Markdown. A flow does not fail because it cannot be shown."""
    await leave_report(artifact_key(kind, name, home_id(read_settings())), text, summary)
