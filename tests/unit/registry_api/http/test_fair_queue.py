"""Turns: bounded at a time, fair between keys, none lost when who waits goes away."""

import asyncio

import pytest

from oci.errors import TooManyRequests
from registry_api.http.fair_queue import FairQueue


class _Work:
    """Holds turns until they are let go, and notes in which order they came."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue, self.begun = queue, list[str]()
        self.gates: dict[str, asyncio.Event] = {}

    def start(self, name: str, key: str, *, first: bool = False) -> "asyncio.Task[None]":
        self.gates[name] = asyncio.Event()
        return asyncio.create_task(self._hold(name, key, first=first))

    async def _hold(self, name: str, key: str, *, first: bool) -> None:
        async with self.queue.turn(key, first=first):
            self.begun.append(name)
            await self.gates[name].wait()

    async def let_go(self, name: str) -> None:
        self.gates[name].set()
        await _settle()


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_lanes_take_turns_and_some_go_first() -> None:
    async def run() -> list[str]:
        work = _Work(FairQueue(1))
        tasks = [work.start(f"flood{number}", "flood") for number in range(5)]
        await _settle()
        tasks += [work.start("other", "other"), work.start("known", "known", first=True)]
        await _settle()
        for name in ("flood0", "known", "flood1", "other", "flood2", "flood3", "flood4"):
            await work.let_go(name)
        await asyncio.gather(*tasks)
        return work.begun

    assert asyncio.run(run()) == ["flood0", "known", "flood1", "other", "flood2", "flood3", "flood4"]


def test_no_more_than_allowed_run_and_too_many_are_refused() -> None:
    async def run() -> None:
        work = _Work(FairQueue(2, waiting=2, in_all=3))
        tasks = [work.start(f"{number}", "one") for number in range(4)]
        await _settle()
        assert work.begun == ["0", "1"]
        with pytest.raises(TooManyRequests):
            await work.start("more", "one")
        tasks.append(work.start("other", "other"))
        await _settle()
        with pytest.raises(TooManyRequests):
            await work.start("third", "third")
        for name in ("0", "1", "2", "3", "other"):
            await work.let_go(name)
        await asyncio.gather(*tasks)
        async with work.queue.turn("again"):
            pass

    asyncio.run(run())


def test_who_goes_away_loses_no_turn() -> None:
    async def run() -> list[str]:
        work = _Work(FairQueue(1))
        holder, gone, last = work.start("holder", "a"), work.start("gone", "b"), work.start("last", "c")
        await _settle()
        gone.cancel()
        await _settle()
        work.gates["holder"].set()
        await holder
        late = work.start("late", "d")
        await _settle()
        late.cancel()  # it waits
        await _settle()
        await work.let_go("last")
        await last
        taken = work.start("taken", "e")
        await _settle()
        waiting = work.start("waiting", "f")
        await _settle()
        work.gates["taken"].set()
        await taken
        waiting.cancel()  # its turn has come in the same moment
        await _settle()
        work.gates["end"] = asyncio.Event()
        end = work.start("end", "g")
        await _settle()
        await work.let_go("end")
        await end
        return work.begun

    assert asyncio.run(run())[-1] == "end"
