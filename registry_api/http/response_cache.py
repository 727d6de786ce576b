"""Answers that cost much, such as lists of everything: kept as long as what they tell of is the same, made few at a time.

Whoever asks for the same at a time gets the same; who asks for much waits for their own turns, and pulls for neither.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple, TypeVar, cast

from registry_api.http.fair_queue import FairQueue

_T = TypeVar("_T")
AT_ONCE = 2
"""Answers made at a time."""

KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of answers in memory, of all together."""


class _Kept(NamedTuple):
    state: Hashable
    value: object
    size: int


class Answers:
    """Keeps answers by what was asked and the state that they tell of; for one event loop."""

    def __init__(self, *, limit: int = KEPT_BYTES) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Future[object]] = {}
        self._queue = FairQueue(AT_ONCE, waiting=64)

    async def get(
        self,
        asked: Hashable,
        state: Hashable,
        asker: Hashable,
        make: Callable[[], Awaitable[_T]],
        size: Callable[[_T], int],
    ) -> _T:
        """Return the answer to what is asked as of a state: as it was kept, or made in the asker's turn.

        Raises TooManyRequests when too many of the same asker wait, and what `make` raises.
        """
        kept = self._kept.get(asked)
        if kept is not None and kept.state == state:
            self._kept.move_to_end(asked)
            return cast("_T", kept.value)
        key = (asked, state)
        running = self._under_way.get(key)
        if running is None:
            running = asyncio.ensure_future(self._make(asked, state, asker, make, size))
            self._under_way[key] = running
            running.add_done_callback(lambda done: self._ended(key, done))
        return cast("_T", await asyncio.shield(running))

    def _ended(self, key: Hashable, done: "asyncio.Future[object]") -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at: those who waited for it may have gone

    async def _make(
        self,
        asked: Hashable,
        state: Hashable,
        asker: Hashable,
        make: Callable[[], Awaitable[_T]],
        size: Callable[[_T], int],
    ) -> object:
        async with self._queue.turn(asker):
            value = await make()
        self._keep(asked, _Kept(state, value, size(value)))
        return value

    def _keep(self, asked: Hashable, made: _Kept) -> None:
        before = self._kept.pop(asked, None)
        self._held -= before.size if before is not None else 0
        if made.size > self._limit:
            return
        self._kept[asked] = made
        self._held += made.size
        while self._held > self._limit:
            self._held -= self._kept.popitem(last=False)[1].size


def body_size(body: bytes) -> int:
    """Return what an answer takes in memory."""
    return len(body) + 500
