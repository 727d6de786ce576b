"""Bounded concurrency with fair turns: the requests of a busy caller wait for each other, not those of other callers."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager

from oci.errors import TooManyRequests

_Lanes = OrderedDict[Hashable, "deque[asyncio.Future[None]]"]


class FairQueue:
    """Run `at_once` requests; others wait in a lane for each key, and lanes take turns. For one event loop.

    At most `waiting` requests of one key wait, and `in_all` of all keys; more are refused at once.
    """

    def __init__(self, at_once: int, *, waiting: int = 32, in_all: int = 1024) -> None:
        self._at_once, self._waiting, self._in_all = at_once, waiting, in_all
        self._running = self._queued = 0
        self._first: _Lanes = OrderedDict()
        self._others: _Lanes = OrderedDict()

    @asynccontextmanager
    async def turn(self, key: Hashable, *, first: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and hold it; those of keys that go `first` are served before all others.

        Raises TooManyRequests where too many wait.
        """
        if self._running >= self._at_once:
            await self._wait(self._first if first else self._others, key)
        else:
            self._running += 1
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, lanes: _Lanes, key: Hashable) -> None:
        """Wait for a turn that another one passes on."""
        lane = lanes.get(key)
        if self._queued >= self._in_all or (lane is not None and len(lane) >= self._waiting):
            raise TooManyRequests("too many requests are waiting already; try again in a moment", retry_after=1.0)
        turn = asyncio.get_running_loop().create_future()
        lanes.setdefault(key, deque()).append(turn)
        self._queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the turn came, and nobody takes it
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        for lanes in (self._first, self._others):
            while lanes:
                key, lane = lanes.popitem(last=False)
                turn = lane.popleft()
                self._queued -= 1
                if lane:
                    lanes[key] = lane
                if not turn.done():
                    turn.set_result(None)
                    return
        self._running -= 1


class Slots:
    """Counts what runs at a time, and refuses what is too much; for one event loop."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def hold(self, limit: int) -> Iterator[None]:
        """Hold one of `limit` slots; raise TooManyRequests when none is free."""
        if self._held >= limit:
            raise TooManyRequests(f"{limit} queries are running already; try again in a moment", retry_after=2.0)
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
