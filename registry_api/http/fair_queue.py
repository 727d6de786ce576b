"""A bounded number at a time, and turns for those who wait: who asks for much waits for what they asked, and nobody else does."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from oci.errors import TooManyRequests

_Lanes = OrderedDict[Hashable, "deque[asyncio.Future[None]]"]


class FairQueue:
    """Lets `at_once` run; the others wait in a lane for each key, and lanes take turns. For one event loop.

    Of one key `waiting` may wait, of all together `in_all`; what comes beyond is refused at once.
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
            raise TooManyRequests("too many requests wait for an answer already; wait a moment", retry_after=1.0)
        turn = asyncio.get_running_loop().create_future()
        lanes.setdefault(key, deque()).append(turn)
        self._queued += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came, and nobody is there to take it
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
