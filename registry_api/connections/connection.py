"""uvicorn's connections with limits it lacks: an end to requests whose head never ends.

A stalled body is ended where it is read (`registry_api.http.bodies`).
"""

import asyncio
from typing import cast

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from registry_api.connections.transports import Cycle, HeadTransport, RawSocket, ResponseTransport
from registry_api.http.eager import run_eagerly
from registry_api.http.extensions import SEND_FILE, SEND_WHOLE
from registry_api.http.messages import announced_length

HEAD_LIMIT = 65_536
"""Most bytes of a request line with its headers: eight times those of other servers, since tokens can be long."""

HEAD_PATIENCE = 30.0
"""Seconds from the first byte of a request, or from the connection's beginning, to the end of its headers."""


DROPPED_LIMIT = 8 * 1024 * 1024
"""Bytes of a body that are still read and dropped after the response; beyond, the connection ends."""

HANG_UP_AFTER = 0.5
"""Seconds that a client whose body nobody reads has to read the response: closing at once could lose it."""

AT_ONCE = 8
"""Requests of one connection that came together and are answered before other connections have their turn."""

_PULLS = ("GET", "HEAD")


class LeavingState(ServerState):
    """What a server's connections share; `is_leaving`: each response is the last of its connection."""

    is_leaving = False


class Connection(HttpToolsProtocol):
    """One client's connection; the response to a head that is too long is 431, to one that takes too long 408."""

    _head_since: float | None = None
    _head_bytes = 0
    _dropped = 0
    _hanging_up: asyncio.TimerHandle | None = None
    _raw: RawSocket | None = None
    _idle_since: float | None = None
    _is_first = False
    _begun = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request's head."""
        super().connection_made(transport)
        # To uvicorn, any handler of anybody's looks like a wish for lines.
        self.access_log = self.access_log and self.config.access_log
        self._head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; refuse a head that is too long."""
        self._begun, self._idle_since = 0, None
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT:
                self._refuse(b"431 Request Header Fields Too Large")
        elif self.cycle is not None and self.cycle.response_complete and not self.pipeline:
            self._idle_since = self.loop.time()  # the rest of a body that was answered early, or nothing at all

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_since, self._head_bytes, self._dropped = self.loop.time(), 0, 0

    def on_headers_complete(self) -> None:
        """Begin to respond."""
        self._head_since = None
        self._is_first = True
        super().on_headers_complete()
        self._is_first = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Give the request its transport, and run it: a pull that waits for nothing without a task of its own.

        Not one that had to wait for others of its connection, nor many that came together: other connections have their turns.
        """
        scope = cast("Scope", cycle.scope)
        cycle.keep_alive = cycle.keep_alive and not getattr(self.server_state, "is_leaving", False)
        self._offer(cycle, scope)
        if self._is_first and self._begun < AT_ONCE and scope["method"] in _PULLS and scope["path"].startswith("/v2/"):
            self._begun += 1
            run_eagerly(self.loop, cycle.run_asgi(app), self._keep)
        else:
            super()._start_asgi_task(cycle, app)

    def _keep(self, task: "asyncio.Task[None]") -> None:
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _offer(self, cycle: RequestResponseCycle, scope: Scope) -> None:
        """Put our transport before the connection's, and what it can do into the request's scope."""
        extensions, known = scope.setdefault("extensions", {}), cast("Cycle", cycle)
        transport: HeadTransport | ResponseTransport
        if scope["method"] == "HEAD":
            transport = HeadTransport(self.transport, known)
        else:
            is_long = (announced_length(scope) or 0) > DROPPED_LIMIT
            transport = ResponseTransport(
                self.transport, known, self._raw_socket, self._end_unread if is_long else None
            )
            if self.scheme == "http":
                extensions[SEND_FILE] = transport.send_file
        extensions[SEND_WHOLE] = transport.send_whole
        cycle.transport = cast("asyncio.Transport", transport)

    def on_response_complete(self) -> None:
        """Begin the next request, or note since when the connection is idle.

        uvicorn sets a timer behind each response instead, which costs as much as looking up a manifest.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """Accept a part of a body, or drop it after the response: the client may still be sending."""
        super().on_body(body)
        if self.cycle.response_complete and not self.transport.is_closing():
            self._dropped += len(body)
            if self._dropped > DROPPED_LIMIT:
                self.flow.pause_reading()
                self._end_unread()

    def _end_unread(self) -> None:
        """End the connection after a moment in which the client can read the response, and a little of its body is dropped."""
        if self._hanging_up is None and not self.transport.is_closing():
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._hanging_up = self.loop.call_later(HANG_UP_AFTER, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what the connection held."""
        super().connection_lost(exc)
        if self._hanging_up is not None:
            self._hanging_up.cancel()
        if self._raw is not None:
            self._raw.close()

    def _raw_socket(self) -> RawSocket | None:
        if self._raw is None:
            try:
                self._raw = RawSocket(self.transport, self.loop)
            except OSError:  # no descriptor is left: the bytes go the long way
                return None
        return None if self._raw.ended else self._raw

    def end_if_stalled(self) -> None:
        """Close the connection when its head has taken too long, or when it has been idle for too long."""
        now, since, idle_since = self.loop.time(), self._head_since, self._idle_since
        if since is not None and now - since > HEAD_PATIENCE:
            self._refuse(b"408 Request Timeout")
        elif idle_since is not None and now - idle_since > self.timeout_keep_alive:
            self.transport.close()

    def _refuse(self, status: bytes) -> None:
        self._head_since = None
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else the bytes would stand in the middle of a response
            self.transport.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()
