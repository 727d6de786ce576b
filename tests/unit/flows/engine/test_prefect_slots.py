"""A slot of an upstream's limit: made where it is missing, and asked for again where Prefect's server is too busy to answer."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from flows.engine import prefect_slots
from flows.runs.upstream_slots import HeldSlot


class Limits:
    """Prefect's limits: `answers` are those to come, an error or the slot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.answers, self.course = list(answers), list[str]()
        monkeypatch.setattr(prefect_slots, "_slot", self.slot)
        monkeypatch.setattr(prefect_slots, "_make_limit", self.make)
        monkeypatch.setattr(prefect_slots, "ASK_AGAIN", 0.0)
        monkeypatch.setattr(prefect_slots, "get_run_logger", lambda: logging.getLogger("test"))

    @asynccontextmanager
    async def slot(self, _limit: str, _patience: float, *, strict: bool) -> AsyncIterator[None]:
        answer = self.answers.pop(0) if self.answers else "slot"
        self.course.append(f"{answer}{' strict' if strict else ''}")
        if answer == "busy":
            raise ConcurrencySlotAcquisitionError("503") from OSError("database is locked")
        if answer == "no limit":
            raise ConcurrencySlotAcquisitionError("no such limit")
        yield
        self.course.append("given back")

    async def make(self, _limit: str) -> None:
        self.course.append("made")


async def enter(patience: float = 60.0) -> None:
    async with AsyncExitStack() as stack:
        await prefect_slots._enter(stack, "upstream-registry.example", patience)


def test_a_busy_server_is_asked_again_until_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch, "busy", "busy")
    asyncio.run(enter())
    assert limits.course == ["busy strict", "busy strict", "slot strict", "given back"]
    limits = Limits(monkeypatch, "busy")
    with pytest.raises(ConcurrencySlotAcquisitionError):
        asyncio.run(enter(patience=0.0))
    assert limits.course == ["busy strict"]


def test_a_limit_that_is_missing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch, "no limit", "busy")
    asyncio.run(enter())
    assert limits.course == ["no limit strict", "made", "busy", "slot", "given back"]


def test_a_held_slot_is_taken_once_and_given_back_as_often_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(monkeypatch)

    async def whole() -> None:
        async with HeldSlot("registry.example") as slot:
            await slot.hold()
            await slot.hold()
            await slot.release()
            await slot.release()
            await slot.hold()

    asyncio.run(whole())
    assert limits.course == ["slot strict", "given back"] * 2
