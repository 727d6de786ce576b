"""The event stream that open pages follow: it tells that something changed which the visitor may see, and nothing of it.

The page then loads its own part again, so that what is shown is read by the rights of that moment. Source: HTML, "Server-sent
events".
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice

from fastapi import APIRouter, Response
from starlette.types import Receive, Scope, Send

from catalog.versions.rows import VersionRow
from oci.errors import EntrepotError, InvalidInput
from registry_api.pages.framework.flow_watch import RunInProgress
from registry_api.pages.framework.live_feed import LiveFeed, MadeVersion, Sight, Viewer
from registry_api.pages.framework.responses import SECURITY_HEADERS
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_CHECK_EVERY = 5.0
"""Seconds after which a stream looks whether its session and rights are as they were; a line for proxies is sent then."""
_GAP = 2.0
"""Seconds between two events of one stream at least."""
_LONGEST = 1800.0
"""Seconds after which a stream ends; the browser begins another one."""
_SENDS_WITHIN = 20.0
"""Seconds in which a client takes what it is sent."""
_NEWEST = 200
_BEGIN = "retry: 3000\n\n"
_HEARTBEAT = ": \n\n"

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/live")
async def follow_changes(visit: CurrentVisit) -> Response:
    """Tell of changes as long as the page is open; 429 where too many are told already."""
    headers = visit.request.headers
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise InvalidInput("this address takes no body")
    viewer = Viewer(visit.cost_key, is_anonymous=not visit.account, sees_runs=visit.is_administrator)
    visit.site.feed.hold(viewer, ChangeLook(visit).look)
    return EventStream(visit, viewer)


class ChangeLook:
    """Looks for what all streams of a process follow; each look compares with the one before."""

    def __init__(self, visit: Visit) -> None:
        self._registry, self._site, self._catalog = visit.registry, visit.site, visit.catalog
        self._threads = visit.threads
        self._state: object = None
        self._known: frozenset[MadeVersion] | None = None
        self._runs: tuple[RunInProgress, ...] | None = None
        self._has_looked = False

    async def look(self) -> Sight:
        """Return what has changed; one query where something was committed."""
        await self._registry.refresh()
        made: tuple[MadeVersion, ...] = ()
        state = self._catalog.serving.state
        if state != self._state:
            latest = await self._threads.run(self._read_latest)
            self._state = state
            found = [MadeVersion(one.repository, one.number) for one in latest]
            if self._known is not None:
                made = tuple(one for one in found if one not in self._known)
            self._known = frozenset(found)
        return Sight(made, self._site.feed.shows_runs and await self._has_other_runs())

    async def _has_other_runs(self) -> bool:
        runs = await self._site.runs.look()
        is_other, self._runs, self._has_looked = self._has_looked and runs != self._runs, runs, True
        return is_other

    def _read_latest(self) -> list[VersionRow]:
        serving, drops = self._catalog.serving, self._catalog.snapshots.drops
        recent = self._catalog.browse.recent_versions.read(state=serving.state, drops=drops)
        return list(islice(recent.latest, _NEWEST))


class EventStream(Response):
    """A response that goes on until the client or the server leaves, or the login ends."""

    def __init__(self, visit: Visit, viewer: Viewer) -> None:
        headers = {**SECURITY_HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(None, 200, headers, "text/event-stream")
        del self.headers["content-length"]
        self._visit, self._viewer = visit, viewer

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send events; a client that has gone, or does not read, ends it."""
        gone = asyncio.ensure_future(_until_gone(receive))
        sending = asyncio.ensure_future(self._send(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
            self._visit.site.feed.release(self._viewer)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for text in tell_changes(self._visit, self._visit.site.feed):
            async with asyncio.timeout(_SENDS_WITHIN):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def tell_changes(visit: Visit, feed: LiveFeed) -> AsyncIterator[str]:
    """Give the lines of a visitor's stream: `versions` and `runs` when these have changed, `end` when the login has ended."""
    loop = asyncio.get_running_loop()
    until, position = loop.time() + _LONGEST, feed.position
    yield _BEGIN
    while loop.time() < until:
        glance = await feed.wait(position, patience=_CHECK_EVERY)
        position = glance.position
        if feed.is_leaving:
            return
        if not await is_logged_in_still(visit):
            yield "event: end\ndata:\n\n"
            return
        events = []
        if any(may_see(visit, one) for one in glance.made):
            events.append("event: versions\ndata:\n\n")
        if glance.has_other_runs and visit.is_administrator:
            events.append("event: runs\ndata:\n\n")
        yield "".join(events) or _HEARTBEAT
        if events:
            await feed.pause(_GAP)


async def is_logged_in_still(visit: Visit) -> bool:
    """Return whether the login that a stream began with holds still; no I/O that waits."""
    registry, scope = visit.registry, visit.request.scope
    try:
        if visit.session is not None:
            return visit.site.sessions.read(scope, registry.access.store.policy, registry.now()) is not None
        return (await registry.access.identify(scope)).account == visit.account
    except EntrepotError:
        return False


def may_see(visit: Visit, made: MadeVersion) -> bool:
    """Return whether a visitor may see that a version was made, by the rights of now; no I/O."""
    if visit.may("pull", made.repository):
        return True
    access = visit.registry.access
    return any(
        served.version is None and access.may_pull(visit.caller, served)
        for served in visit.catalog.distributions.serving(made.repository)
    )
