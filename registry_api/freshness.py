"""How a replica makes certain that what it serves is the newest, where the catalogue is in PostgreSQL.

Tags, and whatever is not found, wait for a confirmation: one question to the database answers all requests that wait. What is
found by digest needs none. While the database does not answer, pulls are served as last confirmed, with a warning.
"""

import asyncio
import logging
from collections.abc import Callable

from catalog.serving import Serving
from oci.errors import EntrepotError

log = logging.getLogger("registry_api")
WARNING = b'110 - "the catalogue does not answer; this is what it last said"'
"""Source: RFC 9111 section 5.5, code 110 (response is stale)."""
_PAUSE = 1.0
"""Seconds for which a database that did not answer is not asked again."""
_PATIENCE = 2.0
"""Seconds that a question may take."""


class Freshness:
    """Confirms what memory knows; used on one event loop."""

    def __init__(self, serving: Serving, clock: Callable[[], float], *, staleness: float = 0.0) -> None:
        """`staleness`: seconds for which a confirmation holds; 0: each request wants one that began after it came."""
        self._serving, self._clock, self._staleness = serving, clock, staleness
        self._confirmed_at = self._failed_at = float("-inf")
        self._asking: asyncio.Task[bool] | None = None
        self._next: asyncio.Task[bool] | None = None
        self._is_warned = False

    @property
    def is_answering(self) -> bool:
        """Return whether the database answered when it was last asked; no I/O."""
        return not self._is_warned

    async def confirm(self) -> bool:
        """Make memory know all that was committed before this call; return False when the database does not answer."""
        if not self._serving.is_shared or self._clock() - self._confirmed_at < self._staleness:
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
            async with asyncio.timeout(_PATIENCE):
                await self._serving.confirm_on_loop()
        except (TimeoutError, EntrepotError) as error:
            if not self._is_warned:
                log.warning("serving what was last confirmed error=%s", error or "no answer")
            self._is_warned, self._failed_at = True, self._clock()
            return False
        self._confirmed_at, self._is_warned = began, False
        return True
