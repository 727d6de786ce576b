"""A cache of responses that cost much, such as lists of everything: valid as long as the state they were made from.

Few are made at a time. Equal requests at one time share one response; a caller of many waits for turns, and pulls never wait.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple, TypeVar, cast

from registry_api.http.fair_queue import FairQueue

_T = TypeVar("_T")
AT_ONCE = 2
"""Responses made at a time."""

KEPT_BYTES = 64 * 1024 * 1024
"""Bytes of all responses in memory."""


class _Entry(NamedTuple):
    state: Hashable
    value: object
    size: int


class ResponseCache:
    """Keeps responses by key and by the state they were made from; for one event loop."""

    def __init__(self, *, limit: int = KEPT_BYTES) -> None:
        self._limit, self._held = limit, 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._running: dict[tuple[Hashable, Hashable], asyncio.Future[object]] = {}
        self._queue = FairQueue(AT_ONCE, waiting=64)

    async def get(
        self,
        key: Hashable,
        state: Hashable,
        cost_key: Hashable,
        make: Callable[[], Awaitable[_T]],
        size: Callable[[_T], int],
    ) -> _T:
        """Return the cached response of a key and a state, else call `make` in a turn of `cost_key`.

        Raises TooManyRequests when too many of the same `cost_key` wait, and what `make` raises.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.state == state:
            self._entries.move_to_end(key)
            return cast("_T", entry.value)
        running = self._running.get((key, state))
        if running is None:
            running = asyncio.ensure_future(self._make(key, state, cost_key, make, size))
            self._running[key, state] = running
            running.add_done_callback(lambda done: self._ended((key, state), done))
        return cast("_T", await asyncio.shield(running))

    def _ended(self, key: tuple[Hashable, Hashable], done: "asyncio.Future[object]") -> None:
        self._running.pop(key, None)
        if not done.cancelled():
            done.exception()  # retrieved: the clients that waited for it may have gone

    async def _make(
        self,
        key: Hashable,
        state: Hashable,
        cost_key: Hashable,
        make: Callable[[], Awaitable[_T]],
        size: Callable[[_T], int],
    ) -> object:
        async with self._queue.turn(cost_key):
            value = await make()
        self._put(key, _Entry(state, value, size(value)))
        return value

    def _put(self, key: Hashable, entry: _Entry) -> None:
        before = self._entries.pop(key, None)
        self._held -= before.size if before is not None else 0
        if entry.size > self._limit:
            return
        self._entries[key] = entry
        self._held += entry.size
        while self._held > self._limit:
            self._held -= self._entries.popitem(last=False)[1].size


def body_size(body: bytes) -> int:
    """Return the bytes that a body takes in memory."""
    return len(body) + 500
