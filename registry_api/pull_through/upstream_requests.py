"""Questions to upstreams: one at a time for each thing, and asked again only when the answer is no longer fresh."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from oci.errors import RemoteError, RemoteNotFound
from registry_api.lru import Recent

log = logging.getLogger("registry_api")

STALE_AFTER = 10.0
"""Seconds after which a client for whom something is here already is not kept waiting for upstream any longer."""

_ASK_AGAIN = 30.0
"""Seconds for which an upstream that failed is not asked again about what is here."""

_ABSENT = 60.0
"""Seconds at most for which what upstream does not have is not asked for again."""

_REMEMBERED = 100_000


class Question(NamedTuple):
    """What is asked about a repository below a cache: a tag, a digest, or a list."""

    repository: str
    about: str


class _Absent(NamedTuple):
    until: float
    error: RemoteNotFound


class Questions:
    """Remembers when answers were fresh, and what was not there."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._fresh_until: Recent[Question, float] = Recent(_REMEMBERED)
        self._absent: Recent[Question, _Absent] = Recent(_REMEMBERED)
        self._running: dict[Question, asyncio.Task[None]] = {}

    def is_fresh(self, question: Question) -> bool:
        """Whether the last answer is fresh still."""
        return self._clock() < (self._fresh_until.get(question) or 0.0)

    def forget(self, question: Question) -> None:
        """Count the last answer as no longer fresh."""
        self._fresh_until.forget(question)

    async def ask(
        self, question: Question, ask: Callable[[], Coroutine[Any, Any, None]], *, fresh: float, is_here: bool
    ) -> str:
        """Ask unless the last answer was given less than `fresh` seconds ago; return why what is here may be stale, if it may.

        Without anything here, what asking raises is raised. With it only RemoteNotFound is: upstream says there is no such thing.
        That is remembered too, for a minute at most, or `fresh` if it is less.
        """
        if is_here and self.is_fresh(question):
            return ""
        absent = self._absent.get(question)
        if absent is not None and self._clock() < absent.until:
            raise absent.error.with_traceback(None)
        task = self._running.get(question)
        if task is None:
            task = asyncio.create_task(self._run(question, ask, fresh))
            self._running[question] = task
            task.add_done_callback(partial(self._end, question))
        if not is_here:
            await asyncio.shield(task)
            return ""
        return await self._wait_a_while(question, task, fresh)

    async def _wait_a_while(self, question: Question, task: Awaitable[None], fresh: float) -> str:
        try:
            async with asyncio.timeout(STALE_AFTER):
                await asyncio.shield(task)
        except RemoteNotFound:
            raise
        except (TimeoutError, RemoteError) as error:
            said = str(error) or f"upstream has not answered for {STALE_AFTER:g} s"
            log.warning("cache serves stale name=%s about=%s error=%s", *question, said)
            self._fresh_until.keep(question, self._clock() + min(_ASK_AGAIN, fresh))
            return said
        return ""

    async def _run(self, question: Question, ask: Callable[[], Awaitable[None]], fresh: float) -> None:
        try:
            await ask()
        except RemoteNotFound as error:
            self._absent.keep(question, _Absent(self._clock() + min(_ABSENT, fresh), error))
            raise
        self._absent.forget(question)
        self._fresh_until.keep(question, self._clock() + fresh)

    def _end(self, question: Question, task: "asyncio.Task[None]") -> None:
        del self._running[question]
        if not task.cancelled():
            task.exception()  # looked at: whoever asked may have been served something stale long ago

    async def close(self) -> None:
        """Break off what is under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
