"""Limits and state that all connections of this process to one remote share."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from oci.remote.limits.bandwidth import Bucket, take
from oci.remote.network.silence import Silence


class Gate(Protocol):
    """Decides when a request may be sent, and learns from responses."""

    async def admit(self, method: str, path: str, patience: float) -> None:
        """Wait, up to `patience` seconds, until a request may be sent; raise RemoteRateLimited."""
        ...

    async def learn(
        self, method: str, path: str, status: int, headers: Mapping[str, str], retry_after: float | None
    ) -> None:
        """Learn from a response."""
        ...


class Traffic:
    """Requests at a time and bytes a second, 0 for no limit; and the gate of requests. Use it within one event loop."""

    def __init__(
        self,
        *,
        concurrency: int = 0,
        bandwidth: int = 0,
        gate: Gate | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._slots = asyncio.Semaphore(concurrency) if concurrency else None
        self._bandwidth, self._bucket = bandwidth, Bucket(0.0, clock())
        self._clock, self._sleep = clock, sleep
        self.gate = gate
        self.silence = Silence(clock=clock)
        self.schemes: dict[str, str] = {}
        """The scheme that each host responded to, where none was configured."""

    async def passed(self, count: int) -> None:
        """Count bytes of a blob, and wait until the next ones are allowed."""
        if self._bandwidth:
            self._bucket, wait = take(self._bucket, count, now=self._clock(), rate=float(self._bandwidth))
            if wait > 0:
                await self._sleep(wait)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a place for one request and its response, waiting for one to be free."""
        if self._slots is None:
            yield
            return
        async with self._slots:
            yield
