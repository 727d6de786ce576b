"""What a flow's progress says in Prefect after the flow has ended."""

import asyncio
import re
from uuid import uuid4

import pytest

from flows.runs import artifacts
from flows.runs.progress import Progress


def test_a_progress_that_failed_says_in_which_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = list[tuple[float, str]]()

    async def create(percent: float, *, description: str) -> object:
        shown.append((percent, description))
        return uuid4()

    monkeypatch.setattr("prefect.artifacts.acreate_progress_artifact", create)
    progress = Progress()

    async def run() -> None:
        async with artifacts.progress_artifact(progress):
            progress.begin("copying", 8)
            progress.done = 2
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(run())
    assert shown == [(25.0, "failed while copying 2 of 8 tags")]


def test_a_result_has_the_key_of_its_mirror_and_its_home() -> None:
    key = artifacts.artifact_key("sync", "team/app", "home1")
    assert re.fullmatch("sync-team-app-[0-9a-f]{8}", key)
    assert artifacts.artifact_key("sync", "team/app", "home1") == key
    others = [("sync", "team-app", "home1"), ("sync", "team/app", "home2"), ("push", "team/app", "home1")]
    assert len({key, *(artifacts.artifact_key(*one) for one in others)}) == 4
    assert re.fullmatch("[a-z0-9-]{1,110}", artifacts.artifact_key("sync", "Ünï/" * 200, "home1"))


def test_what_is_pushed_was_sent_and_not_received() -> None:
    progress = Progress(verb="sent")
    progress.count_bytes(2_000_000)
    assert progress.describe() == "starting, 2.0 MB sent"
