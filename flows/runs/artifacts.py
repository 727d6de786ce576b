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
    """Show a flow's progress while it runs. A flow does not fail because its progress cannot be shown."""
    try:
        artifact = await acreate_progress_artifact(
            0.0, key=artifact_key(f"{kind}-progress", name), description=progress.describe()
        )
    except _FAILURES as error:
        get_run_logger().warning("no progress artifact: %s", error)
        yield
        return
    updates = asyncio.create_task(_update(artifact, progress))
    try:
        yield
        progress.phase = "done"
    finally:
        updates.cancel()
        with suppress(asyncio.CancelledError):
            await updates
        await _show(artifact, progress)


async def _update(artifact: UUID, progress: Progress) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        await _show(artifact, progress)


async def _show(artifact: UUID, progress: Progress) -> None:
    percent = 100.0 if progress.phase == "done" else progress.percent
    with suppress(*_FAILURES):
        await aupdate_progress_artifact(artifact, percent, description=progress.describe())


async def result_artifact(kind: str, repository: str, summary: str, items: Sequence[PlanItem]) -> None:
    """Keep the table of what became of each tag."""
    await table_artifact(kind, repository, summary, table_rows(items))


async def table_artifact(kind: str, name: str, summary: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Keep a table. A flow does not fail because its result cannot be shown."""
    try:
        await acreate_table_artifact([dict(row) for row in rows], key=artifact_key(kind, name), description=summary)
    except _FAILURES as error:
        get_run_logger().warning("no result table: %s", error)
