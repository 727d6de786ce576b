"""How work is called: tasks with one argument that is closed to Prefect, and work beside other work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

_Context = TypeVar("_Context")
_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


class Work(Generic[_Context, _Value]):
    """The context of a run, and the value that a task works on.

    No dataclass, so that Prefect does not search its fields for results of other tasks.
    """

    __slots__ = ("context", "value")

    def __init__(self, context: _Context, value: _Value) -> None:
        self.context, self.value = context, value


def as_step(
    task: Callable[[Work[_Context, _Value]], Awaitable[_Result]],
) -> Callable[[_Context, _Value], Coroutine[Any, Any, _Result]]:
    """Return a step of a procedure that runs as a task."""

    async def step(context: _Context, value: _Value) -> _Result:
        return await task(Work(context, value))

    return step


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, _Result]) -> AsyncIterator["asyncio.Task[_Result]"]:
    """Begin work whose result is awaited later, or never; it has ended when this is left."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await asyncio.gather(task, return_exceptions=True)
