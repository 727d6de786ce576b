"""How a replica makes certain that what it serves is the newest, where the catalogue is in PostgreSQL.

Tags, and whatever is not found, wait for a confirmation: one question to the database answers all requests that wait. What is
found by digest needs none. While the database does not answer, pulls are served as last confirmed, with a warning.
"""

import asyncio
import logging
from collections.abc import Callable

from catalog.serving import Serving
from oci.errors import EntrepotError
from registry_api.http.threads import Threads

log = logging.getLogger("registry_api")
WARNING = b'110 - "the catalogue does not answer; this is what it last said"'
"""Source: RFC 9111 section 5.5, code 110 (response is stale)."""
_PAUSE = 1.0
"""Seconds for which a database that did not answer is not asked again."""
_PATIENCE = 2.0
"""Seconds that a question may take."""
_LEARNING = 5.0
"""Seconds that reading what others have committed may take."""


class Freshness:
    """Confirms what memory knows; used on one event loop."""

    def __init__(
        self, serving: Serving, threads: Threads, clock: Callable[[], float], *, staleness: float = 0.0
    ) -> None:
        """`staleness`: seconds for which a confirmation holds; 0: each request wants one that began after it came."""
        self._serving, self._threads, self._clock, self._staleness = serving, threads, clock, staleness
        self._confirmed_at = self._failed_at = float("-inf")
        self._asking: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None
        self._learning: asyncio.Future[None] | None = None
        self._is_warned = False

    @property
    def is_answering(self) -> bool:
        """Return whether the database answered when it was last asked; no I/O."""
        return not self._is_warned

    async def confirm(self) -> bool:
        """Make memory know all that was committed before this call; return False when the database does not answer."""
        if not self._serving.is_shared:
            return True
        if self._clock() - self._confirmed_at < self._staleness and self._serving.is_current():
            return True
        if self._is_warned and self._clock() - self._failed_at < _PAUSE:
            return False
        if self._next is None:
            self._next = asyncio.create_task(self._ask(self._asking))
        return await asyncio.shield(self._next)

    async def _ask(self, before: "asyncio.Task[bool] | None") -> bool:
        """Wait for the question under way, then ask for all who have come until now."""
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._asking, self._next = self._next, None
        began = self._clock()
        try:
            await _within(_PATIENCE, asyncio.ensure_future(self._serving.confirm_on_loop()))
            await self._learn()
        except (TimeoutError, EntrepotError) as error:
            if not self._is_warned:
                log.warning("serving what was last confirmed error=%s", error or "no answer")
            self._is_warned, self._failed_at = True, self._clock()
            self._serving.set_cut_off(True)
            return False
        self._confirmed_at, self._is_warned = began, False
        self._serving.set_cut_off(False)
        return True

    async def _learn(self) -> None:
        """Read what others have committed, if anything; one thread at a time, since it may hang."""
        if self._learning is not None and not self._learning.done():  # it may have begun too early
            await _within(_LEARNING, asyncio.shield(self._learning))
        if not self._serving.is_current():
            self._learning = asyncio.ensure_future(self._threads.run(self._serving.learn))
            await _within(_LEARNING, asyncio.shield(self._learning))


async def _within(seconds: float, asked: "asyncio.Future[None]") -> None:
    """Wait for an answer so long; then raise TimeoutError, and do not wait for the end of a question that hangs."""
    done, _ = await asyncio.wait([asked], timeout=seconds)
    if not done:
        asked.cancel()
        asked.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise TimeoutError
    asked.result()
