"""uvicorn's connections with limits it lacks: an end to requests whose head never ends.

A stalled body is ended where it is read (`registry_api.http.bodies`); an idle connection by uvicorn's keep-alive timer.
"""

import asyncio
from typing import cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from registry_api.http.messages import announced_length
from registry_api.http.transports import SEND_FILE, HeadTransport, RawSocket, ResponseTransport

HEAD_LIMIT = 65_536
"""Most bytes of a request line with its headers: eight times those of other servers, since tokens can be long."""

HEAD_PATIENCE = 30.0
"""Seconds from the first byte of a request, or from the connection's beginning, to the end of its headers."""


DROPPED_LIMIT = 8 * 1024 * 1024
"""Bytes of a body that are still read and dropped after the response; beyond, the connection ends."""

HANG_UP_AFTER = 0.5
"""Seconds that a client whose body nobody reads has to read the response: closing at once could lose it."""


class Connection(HttpToolsProtocol):
    """One client's connection; the response to a head that is too long is 431, to one that takes too long 408."""

    _head_since: float | None = None
    _head_bytes = 0
    _dropped = 0
    _hanging_up: asyncio.TimerHandle | None = None
    _raw: RawSocket | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request's head."""
        super().connection_made(transport)
        self._head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; refuse a head that is too long."""
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_since, self._head_bytes, self._dropped = self.loop.time(), 0, 0

    def on_headers_complete(self) -> None:
        """Begin to respond."""
        self._head_since = None
        super().on_headers_complete()
        if self.scope["method"] == "HEAD":
            self.cycle.transport = cast("asyncio.Transport", HeadTransport(self.transport))
        else:
            is_long = (announced_length(cast("Scope", self.scope)) or 0) > DROPPED_LIMIT
            transport = ResponseTransport(
                self.transport, self.cycle, self._raw_socket, self._end_unread if is_long else None
            )
            self.cycle.transport = cast("asyncio.Transport", transport)
            if self.scheme == "http":
                self.scope["extensions"] = {SEND_FILE: transport.send_file}  # type: ignore[dict-item]  # not one of uvicorn's

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
        """Close the connection when its head has taken too long."""
        since = self._head_since
        if since is not None and self.loop.time() - since > HEAD_PATIENCE:
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        self._head_since = None
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else the bytes would stand in the middle of a response
            self.transport.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()
