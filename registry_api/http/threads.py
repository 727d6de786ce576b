"""Threads for calls that may block, so that the event loop never does: bounded pools, one for each purpose."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from oci.traces.spans import active

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads:
    """Pools that cannot starve each other; `close` waits for what is under way.

    `files`: disk, catalogue reads. `uploads`: hashing, and the store while it takes blobs. `commits`: they wait for each other,
    and the more wait the more go into one transaction. `passwords`: each try takes a core and 64 MiB. `listings`: responses that
    take long to make. `policies`: decisions of trust policies, which may wait for a trust configuration.
    """

    def __init__(
        self,
        *,
        files: int = 16,
        uploads: int = 16,
        commits: int = 32,
        passwords: int = 2,
        listings: int = 2,
        policies: int = 4,
    ) -> None:
        self.files = ThreadPoolExecutor(files, "files")
        self.uploads = ThreadPoolExecutor(uploads, "uploads")
        self.commits = ThreadPoolExecutor(commits, "commits")
        self.passwords = ThreadPoolExecutor(passwords, "passwords")
        self.listings = ThreadPoolExecutor(listings, "listings")
        self.policies = ThreadPoolExecutor(policies, "policies")

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call on a thread of `files`."""
        return await run_on(self.files, call, *args, **kwargs)

    async def commit(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call on a thread of `commits`."""
        return await run_on(self.commits, call, *args, **kwargs)

    async def check(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call on a thread of `passwords`."""
        return await run_on(self.passwords, call, *args, **kwargs)

    async def make(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call on a thread of `listings`."""
        return await run_on(self.listings, call, *args, **kwargs)

    async def decide(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Call on a thread of `policies`."""
        return await run_on(self.policies, call, *args, **kwargs)

    def close(self) -> None:
        """End the threads; calls not yet begun are dropped."""
        for pool in (self.files, self.uploads, self.commits, self.passwords, self.listings, self.policies):
            pool.shutdown(wait=True, cancel_futures=True)


async def run_on(pool: Executor, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call on a thread of `pool` and await the result. What it traces is below the request's span."""
    if active() is not None:
        return await asyncio.get_running_loop().run_in_executor(
            pool, partial(copy_context().run, call, *args, **kwargs)
        )
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: call(*args, **kwargs))
