"""Coroutines that begin before they have a task go on in one as if they had always had it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from registry_api.http.eager import enter_task, run_eagerly

_seen: ContextVar[str] = ContextVar("_seen", default="nothing")


def _in_a_loop(test: Callable[[], Coroutine[Any, None, None]]) -> Callable[[], None]:
    """Make a test of a coroutine."""

    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


async def _run(coroutine: Coroutine[Any, None, None]) -> list["asyncio.Task[None]"]:
    """Run it eagerly, and return the tasks it has needed, ended."""
    kept: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    loop.call_soon(run_eagerly, loop, coroutine, kept.append)
    await asyncio.sleep(0)
    await asyncio.gather(*kept, return_exceptions=True)
    return kept


@_in_a_loop
async def test_what_waits_for_nothing_is_done_at_once_without_a_task() -> None:
    done: list[str] = []

    async def work() -> None:
        assert asyncio.current_task() is None
        done.append("done")

    assert await _run(work()) == []
    assert done == ["done"]


@_in_a_loop
async def test_what_waits_gets_one_task_and_its_values_and_errors() -> None:
    done: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        done.append(await loop.run_in_executor(None, lambda: "value"))
        assert asyncio.current_task() is not None
        broken: asyncio.Future[None] = loop.create_future()
        loop.call_soon(broken.set_exception, ValueError("broken"))
        with pytest.raises(ValueError, match="broken"):
            await broken
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        done.append("end")

    assert len(await _run(work())) == 1
    assert done == ["value", "end"]


@_in_a_loop
async def test_an_error_of_the_first_wait_arrives_too() -> None:
    done: list[str] = []

    async def work() -> None:
        broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        broken.set_exception(ValueError("broken"))
        try:
            await broken
        except ValueError as error:
            done.append(str(error))

    await _run(work())
    assert done == ["broken"]


@_in_a_loop
async def test_a_cancellation_reaches_it_and_it_may_clean_up() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            done.append("cleaned up")

    kept: list[asyncio.Task[None]] = []
    run_eagerly(asyncio.get_running_loop(), work(), kept.append)
    await asyncio.sleep(0)
    kept[0].cancel()
    await kept[0]
    assert done == ["cleaned up"]


@_in_a_loop
async def test_context_variables_stay_with_it() -> None:
    seen: list[str] = []

    async def work() -> None:
        _seen.set("its own")
        await asyncio.sleep(0)
        seen.append(_seen.get())

    await _run(work())
    assert (seen, _seen.get()) == (["its own"], "nothing")


@_in_a_loop
async def test_it_can_ask_for_a_task() -> None:
    done: list[bool] = []

    async def work() -> None:
        await enter_task()
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        done.append(asyncio.current_task() is not None)
        await enter_task()

    assert len(await _run(work())) == 1
    assert done == [True]
