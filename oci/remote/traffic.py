"""What all connections of this process to one remote share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Traffic:
    """Requests at a time, 0 for as many as there are; use it within one event loop."""

    def __init__(self, *, concurrency: int = 0) -> None:
        self._slots = asyncio.Semaphore(concurrency) if concurrency else None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a place for one request and its answer, waiting for one to be free."""
        if self._slots is None:
            yield
            return
        async with self._slots:
            yield
