"""Connections as uvicorn keeps them, with what it leaves out: an end to requests whose head never ends, and answers in one piece.

A body that stops coming is ended where it is read (`registry_api.bodies`); an idle connection by uvicorn's keep-alive timer.
"""

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 65_536
"""Most bytes of a request line with its headers: eight times what other servers take, since tokens can be long."""

HEAD_PATIENCE = 30.0
"""Seconds from the first byte of a request, or from the connection's beginning, to the end of its headers."""

_JOINED_AT_MOST = 65_536
"""Bytes up to which copying a body behind its head costs less than handing over two pieces."""


class Connection(HttpToolsProtocol):
    """One client's connection; a head that is too long is answered 431, one that takes too long 408."""

    _head_since: float | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The first request may begin."""
        super().connection_made(transport)
        self._head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT:
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_since, self._head_bytes = self.loop.time(), 0

    def on_headers_complete(self) -> None:
        """Begin to answer it."""
        self._head_since = None
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":
            self.cycle.transport = cast("asyncio.Transport", _OneWrite(self.transport))

    def end_if_stalled(self) -> None:
        """Close the connection when its head has taken too long."""
        since = self._head_since
        if since is not None and self.loop.time() - since > HEAD_PATIENCE:
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        self._head_since = None
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else the bytes would stand in the middle of an answer
            self.transport.write(b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
        self.transport.close()


class _OneWrite:
    """A transport for one answer, by which its head goes out with the first of its body: one packet, and the client wakes once.

    uvicorn writes them one by one, which took a quarter of the time of a pull of a manifest.
    """

    __slots__ = ("_begun", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head, self._begun = transport, b"", False

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            if len(data) > _JOINED_AT_MOST:
                self._transport.writelines((head, data))
            else:
                self._transport.write(head + data)
        elif self._begun or data.startswith(b"HTTP/1.1 1"):  # "100 Continue" is waited for
            self._transport.write(data)
        else:
            self._head, self._begun = data, True

    def close(self) -> None:
        if self._head:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()
