"""Requests that begin before they have a task: most pulls end before they wait for anything, and never need one.

A task costs as much as finding what a pull asks for, and the event loop passes twice more for it.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any


def run_eagerly(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, None, None],
    keep: Callable[["asyncio.Task[None]"], None],
) -> None:
    """Run a coroutine that raises nothing up to where it first waits; from there on in a task, which `keep` is given.

    Until it has waited, `asyncio.current_task` is None; `enter_task` changes that.
    """
    context = copy_context()
    try:
        awaited = context.run(coroutine.send, None)
    except StopIteration:
        return
    keep(loop.create_task(_go_on(coroutine, awaited), context=context))


async def enter_task() -> None:
    """Return in a task, which timeouts and httpx need."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)


async def _go_on(coroutine: Coroutine[Any, None, None], awaited: object) -> None:
    await _rest(coroutine, awaited)


@types.coroutine
def _rest(coroutine: Coroutine[Any, None, None], awaited: object) -> Generator[object, None, None]:
    """Run a coroutine that waits for `awaited` to its end; what is thrown in, such as a cancellation, reaches it."""
    while True:
        thrown: BaseException | None = None
        try:
            yield awaited
        except BaseException as error:  # noqa: BLE001  # it is the coroutine's
            thrown = error
        try:
            awaited = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
        except StopIteration:
            return
