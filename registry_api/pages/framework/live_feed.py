"""The changes that open pages follow: one look each second for all event streams of a process, and a bound on their number."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from oci.errors import TooManyRequests

log = logging.getLogger("registry_api")
MOST, MOST_ANONYMOUS, MOST_OF_ONE = 200, 100, 10
"""Streams at a time: of this process, of visitors without a login, and of one account or address."""
LOOK_EVERY = 1.0
_REMEMBERED = 1000
"""Changes that are remembered for streams that look later."""
Look = Callable[[], Awaitable["Sight"]]


class MadeVersion(NamedTuple):
    """A version that has just been made."""

    repository: str
    number: int


class Sight(NamedTuple):
    """What a look has found: versions made since the last one, and whether flow runs are others now."""

    made: tuple[MadeVersion, ...] = ()
    has_other_runs: bool = False


class Glance(NamedTuple):
    """What a stream finds from its own position on; `position` is where it goes on next time."""

    position: int
    made: tuple[MadeVersion, ...]
    has_other_runs: bool


class Viewer(NamedTuple):
    """Whom a stream counts for: an account or an address; whether there is no login; whether flow runs are shown."""

    key: str
    is_anonymous: bool
    sees_runs: bool


class LiveFeed:
    """Looks for changes as long as streams follow them; for one event loop."""

    def __init__(self, *, every: float = LOOK_EVERY) -> None:
        self._every = every
        self._held: Counter[str] = Counter()
        self._anonymous = 0
        self._position = 0
        self._sights: deque[tuple[int, Sight]] = deque(maxlen=_REMEMBERED)
        self._news, self._left = asyncio.Event(), asyncio.Event()
        self._shown_runs: Counter[str] = Counter()
        self._following: asyncio.Task[None] | None = None

    @property
    def is_leaving(self) -> bool:
        """Return whether all streams are to end."""
        return self._left.is_set()

    @property
    def shows_runs(self) -> bool:
        """Return whether any stream is of somebody who sees flow runs."""
        return bool(self._shown_runs)

    @property
    def position(self) -> int:
        """Return where a stream that begins now goes on."""
        return self._position

    @property
    def open_streams(self) -> int:
        """Return how many streams there are."""
        return self._held.total()

    def hold(self, viewer: Viewer, look: Look) -> None:
        """Count a stream, and look for changes from now on; raise TooManyRequests where there are too many."""
        is_full = self._held.total() >= MOST or (viewer.is_anonymous and self._anonymous >= MOST_ANONYMOUS)
        if is_full or self._held[viewer.key] >= MOST_OF_ONE or self.is_leaving:
            raise TooManyRequests("too many pages follow changes already; this one shows them when it is loaded again")
        self._count(viewer, 1)
        if self._following is None or self._following.done():
            self._following = asyncio.ensure_future(self._follow(look))

    def _count(self, viewer: Viewer, number: int) -> None:
        self._held[viewer.key] += number
        self._anonymous += number if viewer.is_anonymous else 0
        self._shown_runs[viewer.key] += number if viewer.sees_runs else 0
        self._held, self._shown_runs = +self._held, +self._shown_runs

    def release(self, viewer: Viewer) -> None:
        """Count a stream no more; without any, nothing is looked for."""
        self._count(viewer, -1)
        if not self._held and self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow(self, look: Look) -> None:
        while True:
            try:
                sight = await look()
            except Exception:  # the database is away, say: the next look tells
                log.debug("looking for changes failed", exc_info=True)
            else:
                if sight.made or sight.has_other_runs:
                    self._tell(sight)
            await asyncio.sleep(self._every)

    def _tell(self, sight: Sight) -> None:
        self._position += 1
        self._sights.append((self._position, sight))
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wait(self, position: int, *, patience: float) -> Glance:
        """Return what has changed since a position: at once, or as soon as it does, or nothing after so many seconds."""
        if position == self._position and not self.is_leaving:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._news.wait()
        found = [sight for at, sight in self._sights if at > position]
        made = tuple(one for sight in found for one in sight.made)
        return Glance(self._position, made, any(sight.has_other_runs for sight in found))

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until all streams are to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._left.wait()

    def leave(self) -> None:
        """Have all streams end now, and let none begin."""
        self._left.set()
        self._news.set()

    async def close(self) -> None:
        """Look for nothing any more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
            self._following = None
