"""Work that goes on beside other work."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, _T]) -> AsyncIterator["asyncio.Task[_T]"]:
    """Begin work whose result is awaited later, or never; it has ended when this is left."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await asyncio.gather(task, return_exceptions=True)
