"""When a chunk's process stops: cancelled, replaced by another, or without anybody who waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from flows.recovery.orphans import CRASHED_SECONDS
from flows.sync_many.chunk_watch import ChunkWatch, RunState, StopKind, StopReason, latest_state, reason_to_stop

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
OWN = RunState("own-1", "RUNNING", NOW)
PARENT = RunState("parent-1", "RUNNING", NOW)


def crashed(seconds: float) -> RunState:
    return RunState("parent-2", "CRASHED", NOW - timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("own", "parent", "is_deployed", "kind"),
    [
        (OWN, PARENT, True, None),
        (RunState("own-2", "CANCELLING", NOW), PARENT, True, StopKind.CANCEL),
        (None, PARENT, True, StopKind.CANCEL),
        (RunState("own-2", "SCHEDULED", NOW), PARENT, True, StopKind.LEAVE),
        (RunState("own-2", "RUNNING", NOW), PARENT, True, StopKind.LEAVE),
        (OWN, RunState("parent-2", "CANCELLING", NOW), True, StopKind.CANCEL),
        (OWN, RunState("parent-2", "COMPLETED", NOW), True, StopKind.CANCEL),
        (OWN, RunState("parent-2", "SCHEDULED", NOW), True, None),  # it is started again, and finds its chunks
        (OWN, crashed(CRASHED_SECONDS - 1), True, None),
        (OWN, crashed(CRASHED_SECONDS + 1), True, StopKind.CANCEL),
        (OWN, crashed(0), False, StopKind.CANCEL),  # a command is not started again
        (OWN, None, True, StopKind.CANCEL),
    ],
)
def test_a_reason_to_stop(
    own: RunState | None, parent: RunState | None, is_deployed: bool, kind: StopKind | None
) -> None:
    reason = reason_to_stop(OWN, own, parent, NOW, parent_is_deployed=is_deployed)
    assert (reason and reason.kind) is kind


def test_the_latest_state_is_the_newest_by_time() -> None:
    found = [
        {"id": "2", "type": "RUNNING", "timestamp": "2026-01-02T00:00:02+00:00"},
        {"id": "1", "type": "PENDING", "timestamp": "2026-01-02T00:00:01+00:00"},
    ]
    latest = latest_state(found)
    assert latest is not None
    assert latest.id == "2"
    assert latest_state([]) is None


def watch(read: Callable[[str], Awaitable[RunState | None]], parent: str = "parent") -> ChunkWatch:
    async def no_deployment(_run: str) -> bool:
        return False

    return ChunkWatch("own", parent, read=read, ask_deployed=no_deployment, every=0.001)


async def _all_is_well(run: str) -> RunState:
    return OWN if run == "own" else PARENT


def test_work_that_ends_gives_its_result_and_its_failure() -> None:
    async def work() -> str:
        return "done"

    async def fail() -> str:
        raise ValueError("broken")

    assert asyncio.run(watch(_all_is_well).run(work())) == "done"
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(watch(_all_is_well).run(fail()))


def test_work_is_stopped_once_there_is_a_reason_and_not_begun_where_there_is_one_before() -> None:
    states, course = {"own": OWN, "parent": PARENT}, list[str]()

    async def read(run: str) -> RunState:
        return states[run]

    async def work() -> None:
        course.append("begun")
        states["parent"] = RunState("parent-2", "CANCELLED", NOW)
        try:
            await asyncio.Event().wait()
        finally:
            course.append("stopped")

    reason = StopReason(StopKind.CANCEL, "the run that this chunk belongs to has ended")
    assert asyncio.run(watch(read).run(work())) == reason
    assert course == ["begun", "stopped"]
    assert asyncio.run(watch(read).run(work())) == reason
    assert course == ["begun", "stopped"]


def test_a_server_that_is_away_and_a_chunk_without_a_parent_are_no_reasons() -> None:
    asked: list[str] = []

    async def whole(parent: str) -> object:
        has_asked_often = asyncio.Event()

        async def away(run: str) -> RunState:
            asked.append(run)
            if len(asked) == 3:
                has_asked_often.set()
            raise httpx.ConnectError("away")

        async def work() -> str:
            if parent:
                await has_asked_often.wait()
            return "done"

        return await watch(away, parent).run(work())

    assert asyncio.run(whole("parent")) == "done"
    asked.clear()
    assert asyncio.run(whole("")) == "done"
    assert asked == []
