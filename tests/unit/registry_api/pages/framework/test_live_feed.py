"""The feed of changes: what streams find, how many there may be, and that nobody waits when the server leaves."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from oci.errors import CatalogUnavailable, TooManyRequests
from registry_api.pages.framework.live_feed import (
    MOST,
    MOST_ANONYMOUS,
    MOST_OF_ONE,
    LiveFeed,
    MadeVersion,
    Sight,
    Viewer,
)

ALICE = Viewer("alice", is_anonymous=False, sees_runs=True)
MADE = MadeVersion("team/app", 3)


async def nothing() -> Sight:
    return Sight()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(within())


def test_a_stream_finds_what_came_since_its_position_and_nothing_twice() -> None:
    async def test() -> None:
        sights = [Sight((MADE,)), Sight((), has_other_runs=True)]

        async def look() -> Sight:
            return sights.pop(0) if sights else Sight()

        feed = LiveFeed(every=0.001)
        feed.hold(ALICE, look)
        first = await feed.wait(0, patience=10)
        assert first.made == (MADE,)
        await feed.wait(first.position, patience=10)
        late = await feed.wait(0, patience=10)
        assert (late.position, late.made, late.has_other_runs) == (2, (MADE,), True)
        assert await feed.wait(2, patience=0.01) == (2, (), False)
        await feed.close()

    run(test)


def test_a_look_that_fails_is_followed_by_others() -> None:
    async def test() -> None:
        looks = 0

        async def look() -> Sight:
            nonlocal looks
            looks += 1
            if looks < 3:
                raise CatalogUnavailable("it is away")
            return Sight((MADE,))

        feed = LiveFeed(every=0.001)
        feed.hold(ALICE, look)
        assert (await feed.wait(0, patience=10)).made == (MADE,)
        await feed.close()

    run(test)


def test_nothing_is_looked_for_without_streams() -> None:
    async def test() -> None:
        ended = asyncio.Event()

        async def look() -> Sight:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return Sight()

        feed = LiveFeed()
        feed.hold(ALICE, look)
        assert feed.shows_runs
        await asyncio.sleep(0)
        feed.release(ALICE)
        await ended.wait()
        assert (feed.open_streams, feed.shows_runs) == (0, False)
        await feed.close()

    run(test)


@pytest.mark.parametrize(
    ("viewers", "refused"),
    [
        ([Viewer("alice", False, False)] * MOST_OF_ONE, Viewer("alice", False, False)),
        (
            [Viewer(f"10.0.0.{number}", True, False) for number in range(MOST_ANONYMOUS)],
            Viewer("10.0.1.1", True, False),
        ),
        ([Viewer(f"user{number}", False, False) for number in range(MOST)], Viewer("another", False, False)),
    ],
)
def test_streams_are_bounded(viewers: list[Viewer], refused: Viewer) -> None:
    async def test() -> None:
        feed = LiveFeed()
        for viewer in viewers:
            feed.hold(viewer, nothing)
        with pytest.raises(TooManyRequests):
            feed.hold(refused, nothing)
        feed.release(viewers[0])
        feed.hold(refused, nothing)
        await feed.close()

    run(test)


def test_leaving_ends_every_wait_and_lets_none_begin() -> None:
    async def test() -> None:
        feed = LiveFeed()
        feed.hold(ALICE, nothing)
        waits = [asyncio.ensure_future(feed.wait(0, patience=1000)), asyncio.ensure_future(feed.pause(1000))]
        await asyncio.sleep(0)
        feed.leave()
        await asyncio.gather(*waits)
        assert feed.is_leaving
        with pytest.raises(TooManyRequests):
            feed.hold(ALICE, nothing)
        await feed.close()

    run(test)
