"""One fetch of a digest for a repository at a time, among all processes of an installation.

Fetches for other repositories do not wait, since their upstreams may be faster.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from catalog.state.locks import NamedLocks
from oci.digest import Digest
from registry_api.http.threads import Threads

_LOOK_AGAIN = 0.2
"""Seconds between checks whether another process has ended its fetch: none can set an event of ours."""


class FetchLocks:
    """Waits for locks without holding anything meanwhile: no thread, no connection."""

    def __init__(self, locks: NamedLocks, threads: Threads) -> None:
        self._locks, self._threads = locks, threads

    @asynccontextmanager
    async def hold(self, repository: str, digest: Digest) -> AsyncIterator[None]:
        """Hold the lock, waiting for other processes; raise CatalogUnavailable."""
        name = f"{repository}@{digest}"
        while not await self._try_lock(name):  # noqa: ASYNC110  # see _LOOK_AGAIN
            await asyncio.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            await self._unlock(name)

    async def _try_lock(self, name: str) -> bool:
        if self._locks.is_immediate:
            return self._locks.try_lock(name)
        trying = asyncio.ensure_future(self._threads.run(self._locks.try_lock, name))
        try:
            return await asyncio.shield(trying)
        except asyncio.CancelledError:  # the thread may get it all the same
            if await trying:
                await self._unlock(name)
            raise

    async def _unlock(self, name: str) -> None:
        if self._locks.is_immediate:
            self._locks.unlock(name)
        else:
            await asyncio.shield(self._threads.run(self._locks.unlock, name))

    def close(self) -> None:
        """Give all locks back."""
        self._locks.close()
