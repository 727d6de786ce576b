"""Slots of a home without a server: as many as a limit has, over all processes, and free with the process that held them."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from catalog.settings import read_settings
from flows.direct.home_slots import HomeSlots
from flows.engine.slots import DEFAULT_LIMIT, SlotTimeout


def test_there_are_four_for_each_upstream(tmp_path: Path) -> None:
    slots = HomeSlots.of(read_settings(home=tmp_path / "entrepot"))

    async def whole() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(DEFAULT_LIMIT):
                await stack.enter_async_context(slots.hold("upstream-a", 0.0))
            assert await slots.describe("upstream-a", "a") == "4 of 4 are taken by other commands of this home"
            with pytest.raises(SlotTimeout):
                await stack.enter_async_context(slots.hold("upstream-a", 0.0))
            await stack.enter_async_context(slots.hold("upstream-b", 0.0))
        async with slots.hold("upstream-a", 0.0):
            assert await slots.describe("upstream-a", "a") == "1 of 4 are taken by other commands of this home"

    asyncio.run(whole())
    assert (tmp_path / "entrepot").stat().st_mode & 0o077 == 0


def test_a_killed_process_holds_none(tmp_path: Path) -> None:
    slots = HomeSlots(tmp_path / "a" / "b" / "slots")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        held = [slots._take("upstream-a") for _ in range(DEFAULT_LIMIT)]
        os.write(writing, b"x" if None not in held else b"-")
        signal.pause()
    assert os.read(reading, 1) == b"x"

    async def take() -> None:
        async with slots.hold("upstream-a", 30.0):
            pass

    with pytest.raises(SlotTimeout):
        asyncio.run(_take_at_once(slots))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    asyncio.run(take())


async def _take_at_once(slots: HomeSlots) -> None:
    async with slots.hold("upstream-a", 0.0):
        pass
