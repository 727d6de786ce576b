"""How a replica makes certain that what it serves is the newest, where the catalogue is in PostgreSQL.

1. Tags, lists, and whatever is not found wait for a confirmation: one question to the database answers all that wait.
2. What is found by digest needs none, as long as the listener has looked, or a request was confirmed, in the last seconds.
3. While the database does not answer, pulls get what was last confirmed, with a warning, for fifteen minutes.
4. While it answers, and what others have committed cannot be read, nothing is served: who may pull may have changed.
5. A database that went back to an earlier state, as after a restore, counts as one that does not answer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from enum import Enum, auto
from typing import TypeVar

from catalog.serving import Serving
from oci.errors import CatalogUnavailable, EntrepotError
from registry_api.http.threads import Threads

_T = TypeVar("_T")
log = logging.getLogger("registry_api")
WARNING = b'110 - "the catalogue does not answer; this is what it last said"'
"""Source: RFC 9111 section 5.5, code 110 (response is stale)."""
RECENT = 3.0
"""Seconds for which memory counts as current by itself; the listener looks each second."""
TRUSTED_FOR = 900.0
"""Seconds for which what was last confirmed is served while the database does not answer; rules hold for as long."""
_PAUSE = 1.0
"""Seconds for which a database that did not answer is not asked again."""
_PATIENCE = 2.0
"""Seconds that a question may take."""
_LEARNING = 5.0
"""Seconds that reading what others have committed may take."""


class Confirmation(Enum):
    """What one request knows of memory."""

    OWN = auto()
    """It covers all that was committed before the request came: what it lacks is not there."""
    RECENT = auto()
    """It did so some seconds ago."""
    MISSING = auto()
    """The database does not answer; memory is as it was last confirmed."""


confirmation: ContextVar[Confirmation | None] = ContextVar("confirmation", default=None)
"""That of the request being handled."""


class _Behind(CatalogUnavailable):
    """Others have committed what cannot be read."""


class Freshness:
    """Confirms what memory knows; used on one event loop."""

    def __init__(
        self,
        serving: Serving,
        threads: Threads,
        clock: Callable[[], float],
        *,
        staleness: float = 0.0,
        trusted_for: float = TRUSTED_FOR,
    ) -> None:
        """`staleness`: seconds for which a confirmation holds; 0: each request wants one that began after it came.

        `clock` is that of `Serving.looked_at`.
        """
        self._serving, self._threads, self._clock = serving, threads, clock
        self._staleness, self._trusted_for = staleness, trusted_for
        self._confirmed_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: EntrepotError | None = None
        self._asking: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[EntrepotError | None]] = []
        self._learning: asyncio.Future[None] | None = None

    def is_recent(self) -> bool:
        """Return whether memory was current some seconds ago, as far as is known; no I/O."""
        return self._clock() - self._known_at() < RECENT and self._serving.is_current()

    def _known_at(self) -> float:
        return max(self._confirmed_at, self._serving.looked_at)

    async def confirm(self, *, own: bool = False) -> Confirmation:
        """Make memory know all that was committed before this call, or say that it does not; `own`: whatever the staleness.

        Raises CatalogUnavailable where memory must not be served: it is too old, or known to be outdated.
        """
        if not self._serving.is_shared:
            return Confirmation.OWN
        if not own and self._clock() - self._confirmed_at < self._staleness and self._serving.is_current():
            return Confirmation.RECENT
        failure = self._failure
        if failure is None or self._clock() - self._failed_at >= _PAUSE:
            if self._next is None:
                self._next = asyncio.create_task(self._answer(self._asking))
            answer = asyncio.get_running_loop().create_future()
            self._waiting.append(answer)
            failure = await answer
        if failure is None:
            return Confirmation.OWN
        if isinstance(failure, _Behind):
            raise _Behind(failure.message)
        if self._clock() - self._known_at() > self._trusted_for:
            raise CatalogUnavailable(f"the catalogue's database has not answered for {self._trusted_for:g} seconds")
        return Confirmation.MISSING

    async def _answer(self, before: "asyncio.Task[None] | None") -> None:
        """Wait for the question under way, then ask for all who have come until now."""
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._asking, self._next = self._next, None
        answers, self._waiting = self._waiting, []
        try:
            failure = await self._ask()
        except BaseException as error:
            for answer in answers:
                if not answer.done():
                    answer.set_exception(error)
            raise
        for answer in answers:
            if not answer.done():  # its request has gone
                answer.set_result(failure)

    async def _ask(self) -> EntrepotError | None:
        """Ask, and return why that failed."""
        began = self._clock()
        failure = await self._failure_of(began)
        if failure is not None and self._failure is None:
            log.warning("serving what was last confirmed error=%s", failure)
        self._failure = failure
        self._serving.set_cut_off(failure is not None and not isinstance(failure, _Behind))
        if failure is None:
            self._confirmed_at = began
        else:
            self._failed_at = self._clock()
        return failure

    async def _failure_of(self, began: float) -> EntrepotError | None:
        try:
            async with asyncio.timeout(_PATIENCE):  # it ends when it is cancelled, so that nothing is left to wait for
                await self._serving.confirm_on_loop()
            if began - self._serving.looked_at > RECENT:  # the listener is cut off, and tells of no rules either
                await within(_LEARNING, self._threads.run(self._serving.look))
        except TimeoutError:
            return CatalogUnavailable(f"the catalogue's database has not answered for {_PATIENCE:g} seconds")
        except EntrepotError as error:
            return error
        try:
            await self._learn()
        except EntrepotError as error:
            return _Behind(f"what others have committed cannot be read: {error}")
        return None

    async def _learn(self) -> None:
        """Read what others have committed, if anything; one thread at a time, since it may hang."""
        if self._learning is not None and not self._learning.done():  # it may have begun too early
            await within(_LEARNING, asyncio.shield(self._learning))
        if not self._serving.is_current():
            self._learning = asyncio.ensure_future(self._threads.run(self._serving.learn))
            await within(_LEARNING, asyncio.shield(self._learning))


async def within(seconds: float, asked: Awaitable[_T]) -> _T:
    """Wait for an answer so long; then raise CatalogUnavailable, and do not wait for the end of a question that hangs."""
    waited = asyncio.ensure_future(asked)
    done, _ = await asyncio.wait([waited], timeout=seconds)
    if not done:
        waited.cancel()
        waited.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise CatalogUnavailable(f"the catalogue's database has not answered for {seconds:g} seconds")
    return waited.result()
