"""What a flow run leaves to be seen in Prefect: its progress while it runs, and the table of its result."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import acreate_progress_artifact, acreate_table_artifact, aupdate_progress_artifact
from prefect.exceptions import PrefectException

from flows.runs.plan_items import PlanItem
from flows.runs.plan_tables import table_rows
from flows.runs.progress import Progress

INTERVAL = 2.0
"""Seconds between two updates of the progress."""

_FAILURES = (PrefectException, httpx.HTTPError)


def artifact_key(kind: str, repository: str) -> str:
    """A key as Prefect wants it: lower-case letters, digits and dashes."""
    return f"{kind}-{re.sub('[^a-z0-9]+', '-', repository.lower()).strip('-')}"


@asynccontextmanager
async def progress_artifact(kind: str, name: str, progress: Progress) -> AsyncIterator[None]:
    """Show a flow's progress while it runs, from INTERVAL on; a shorter flow leaves its end: done, or in which phase it failed.

    A flow does not fail for that.
    """
    shown = _ShownProgress(artifact_key(f"{kind}-progress", name), progress)
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


class _ShownProgress:
    """The artifact of a progress, which is made when it is first shown."""

    def __init__(self, key: str, progress: Progress) -> None:
        self._key, self._progress = key, progress
        self._artifact: UUID | None = None
        self._has_failed = False
        self._turn = asyncio.Lock()

    async def update(self) -> None:
        """Show the progress now and then, until this is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await asyncio.shield(self.show())

    async def show(self) -> None:
        """Show how far the flow is now."""
        async with self._turn:
            percent = 100.0 if self._progress.phase == "done" else self._progress.percent
            description = self._progress.describe()
            try:
                if self._artifact is not None:
                    await aupdate_progress_artifact(self._artifact, percent, description=description)
                elif not self._has_failed:
                    self._artifact = await acreate_progress_artifact(percent, key=self._key, description=description)
            except _FAILURES as error:
                if self._artifact is None:
                    self._has_failed = True
                    get_run_logger().warning("no progress artifact: %s", error)


async def result_artifact(kind: str, repository: str, summary: str, items: Sequence[PlanItem]) -> None:
    """Keep the table of what became of each tag."""
    await table_artifact(kind, repository, summary, table_rows(items))


async def table_artifact(kind: str, name: str, summary: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Keep a table. A flow does not fail because its result cannot be shown."""
    try:
        await acreate_table_artifact([dict(row) for row in rows], key=artifact_key(kind, name), description=summary)
    except _FAILURES as error:
        get_run_logger().warning("no result table: %s", error)
