"""Requests to upstreams: one at a time for each subject, repeated only when the last result is no longer fresh."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from oci.errors import RemoteError, RemoteNotFound
from registry_api.bounded_cache import BoundedCache

log = logging.getLogger("registry_api")

STALE_AFTER = 10.0
"""Seconds after which a client is served stale content rather than kept waiting for upstream."""

_RETRY_AFTER = 30.0
"""Seconds for which a failed request is not repeated, where stale content can be served."""

_ABSENT = 60.0
"""Seconds at most for which a request that upstream answered with 404 is not repeated."""

_REMEMBERED = 100_000


class UpstreamRequest(NamedTuple):
    """The subject of a request: a tag, a digest or a list of a repository below a cache."""

    repository: str
    about: str


class _Absent(NamedTuple):
    until: float
    error: RemoteNotFound


class SingleFlight:
    """Runs one request at a time for each subject; remembers until when results are fresh, and what upstream does not have."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fresh_until: BoundedCache[UpstreamRequest, float] = BoundedCache(_REMEMBERED)
        self._absent: BoundedCache[UpstreamRequest, _Absent] = BoundedCache(_REMEMBERED)
        self._running: dict[UpstreamRequest, asyncio.Task[None]] = {}

    def is_fresh(self, request: UpstreamRequest) -> bool:
        """Return whether the last result is still fresh."""
        return self._clock() < (self._fresh_until.get(request) or 0.0)

    def forget(self, request: UpstreamRequest) -> None:
        """Treat the last result as no longer fresh."""
        self._fresh_until.discard(request)

    async def run(
        self, request: UpstreamRequest, fetch: Callable[[], Coroutine[Any, Any, None]], *, fresh: float, is_here: bool
    ) -> str:
        """Call `fetch` unless the last result is less than `fresh` seconds old; return why the content here may be stale, or "".

        Without content here, the error of `fetch` is raised. With content, only RemoteNotFound is raised. It is remembered
        for a minute at most, or `fresh` if that is less.
        """
        if is_here and self.is_fresh(request):
            return ""
        absent = self._absent.get(request)
        if absent is not None and self._clock() < absent.until:
            raise absent.error.with_traceback(None)
        task = self._running.get(request)
        if task is None:
            task = asyncio.create_task(self._run(request, fetch, fresh))
            self._running[request] = task
            task.add_done_callback(partial(self._end, request))
        if not is_here:
            await asyncio.shield(task)
            return ""
        return await self._wait_briefly(request, task, fresh)

    async def _wait_briefly(self, request: UpstreamRequest, task: Awaitable[None], fresh: float) -> str:
        try:
            async with asyncio.timeout(STALE_AFTER):
                await asyncio.shield(task)
        except RemoteNotFound:
            raise
        except (TimeoutError, RemoteError) as error:
            reason = str(error) or f"upstream has not responded for {STALE_AFTER:g} s"
            log.warning("cache serves stale name=%s about=%s error=%s", *request, reason)
            self._fresh_until.put(request, self._clock() + min(_RETRY_AFTER, fresh))
            return reason
        return ""

    async def _run(self, request: UpstreamRequest, fetch: Callable[[], Awaitable[None]], fresh: float) -> None:
        try:
            await fetch()
        except RemoteNotFound as error:
            self._absent.put(request, _Absent(self._clock() + min(_ABSENT, fresh), error))
            raise
        self._absent.discard(request)
        self._fresh_until.put(request, self._clock() + fresh)

    def _end(self, request: UpstreamRequest, task: "asyncio.Task[None]") -> None:
        del self._running[request]
        if not task.cancelled():
            task.exception()  # retrieved: the clients may have been served stale content long ago

    async def close(self) -> None:
        """Cancel what is running."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
