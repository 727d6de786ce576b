"""The open connections of one client, used again without searching: httpcore's own pool looks at all of them for each request."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self, cast

import httpcore

_IDLE_SECONDS = 5.0
"""Seconds after which a connection that nobody uses is closed; the same as httpx's."""

_STALE = 3
"""How many idle connections that turn out to be closed are passed over before a new one is made."""


class ConnectionPool:
    """Up to `connections` open ones, which `backend` makes; the one used last is used first. Use it within one event loop.

    It takes the place of the pool in httpx's transport, for requests that go through no proxy.
    """

    def __init__(self, *, context: ssl.SSLContext, backend: httpcore.AsyncNetworkBackend, connections: int) -> None:
        self._context, self._backend, self._connections = context, backend, connections
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[tuple[httpcore.Origin, httpcore.AsyncHTTPConnection]] = []
        self._active, self._is_closed = 0, False

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request on a free connection, or on a new one; wait where there are as many as there may be."""
        await self._slots.acquire()
        self._active += 1
        try:
            connection, response = await self._send(request)
        except BaseException:
            self._leave()
            raise
        origin = request.url.origin
        body = _Body(response, lambda: self._give_back(origin, connection))
        return httpcore.Response(
            response.status, headers=response.headers, content=body, extensions=response.extensions
        )

    async def _send(self, request: httpcore.Request) -> tuple[httpcore.AsyncHTTPConnection, httpcore.Response]:
        for tries_left in reversed(range(_STALE + 1)):
            connection = await self._take(request.url.origin, is_new=not tries_left)
            try:
                return connection, await connection.handle_async_request(request)
            except httpcore.ConnectionNotAvailable:
                await connection.aclose()
            except BaseException:
                await asyncio.shield(connection.aclose())
                raise
        raise httpcore.ConnectError("a new connection cannot be used")

    async def _take(self, origin: httpcore.Origin, *, is_new: bool) -> httpcore.AsyncHTTPConnection:
        while not is_new and (place := self._place_of(origin)) is not None:  # anew each time: closing lets others go on
            _, connection = self._idle.pop(place)
            if not connection.has_expired():
                return connection
            await connection.aclose()
        if self._active + len(self._idle) > self._connections and self._idle:
            await self._idle.pop(0)[1].aclose()
        return httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._context, keepalive_expiry=_IDLE_SECONDS, network_backend=self._backend
        )

    def _place_of(self, origin: httpcore.Origin) -> int | None:
        """Return where the connection to an origin is that was used last."""
        return next((place for place in reversed(range(len(self._idle))) if self._idle[place][0] == origin), None)

    async def _give_back(self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection) -> None:
        self._leave()
        if connection.is_idle() and not self._is_closed:
            self._idle.append((origin, connection))
        else:
            await connection.aclose()
        while self._idle[:-1] and self._idle[0][1].has_expired():
            await self._idle.pop(0)[1].aclose()

    def _leave(self) -> None:
        self._active -= 1
        self._slots.release()

    async def aclose(self) -> None:
        """Close what nobody uses now, and all others when they are given back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop()[1].aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.aclose()


class _Body:
    """The body of a response; `give_back` is called once, when it is closed."""

    def __init__(self, response: httpcore.Response, give_back: Callable[[], Awaitable[None]]) -> None:
        self._stream = cast("AsyncIterator[bytes]", response.stream)
        self._response, self._give_back, self._is_closed = response, give_back, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                yield chunk
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give the connection back."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._response.aclose()
        finally:
            await self._give_back()
