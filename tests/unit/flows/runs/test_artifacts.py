"""What a flow's progress says in Prefect after the flow has ended."""

import asyncio
from uuid import uuid4

import pytest

from flows.runs import artifacts
from flows.runs.progress import Progress


def test_a_progress_that_failed_says_in_which_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = list[tuple[float, str]]()

    async def create(percent: float, *, key: str, description: str) -> object:
        assert key == "sync-progress-team-app"
        shown.append((percent, description))
        return uuid4()

    monkeypatch.setattr(artifacts, "acreate_progress_artifact", create)
    progress = Progress()

    async def run() -> None:
        async with artifacts.progress_artifact("sync", "team/app", progress):
            progress.begin("copying", 8)
            progress.done = 2
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(run())
    assert shown == [(25.0, "failed while copying 2 of 8 tags")]
