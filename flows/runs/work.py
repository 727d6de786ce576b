"""The arguments of a task, closed to Prefect."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

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
) -> Callable[[_Context, _Value], Awaitable[_Result]]:
    """Return a step of a procedure that runs as a task."""

    async def step(context: _Context, value: _Value) -> _Result:
        return await task(Work(context, value))

    return step
