"""Calls on threads that nobody walks away from: a thread cannot be stopped, so a cancellation waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor


async def run_shielded(call: Callable[..., object], *args: object, pool: Executor | None = None) -> None:
    """Call on a thread of the pool. When cancelled, wait until it is done, so that its file is not closed under it."""
    running = asyncio.get_running_loop().run_in_executor(pool, call, *args)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # looked at, so that asyncio does not report it as lost
        raise
