"""Transports of responses: the head together with the first of the body, and files by the system itself, without a copy.

uvicorn writes head and body one by one, which wakes the client twice, and passes all bytes through the process. Both took more
time than all the rest of a pull.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from registry_api.http.header_names import spelled

SEND_FILE = "entrepot.send_file"
"""The extension in a request's ASGI scope that sends a part of a file as the body; see `SendFile`."""

PIECE = 1024 * 1024
"""Bytes given to the system at once; other tasks run between two pieces."""

_JOINED_AT_MOST = 65_536
"""Bytes up to which copying a body behind its head costs less than handing over two pieces."""


class Cycle(Protocol):
    """The part of uvicorn's request cycle that we use."""

    expected_content_length: int
    keep_alive: bool
    more_body: bool
    """Whether some of the request's body has not arrived yet."""


Fetch = Callable[[int, int], Awaitable[int]]
"""Called with a position and a length before that much is sent: brings it into memory where it may have to come from disk, and
returns how much of it there is, 0 at the end of the file."""


class SendFile(Protocol):
    """Sends a part of a file as the body, after `http.response.start` and before an empty last `http.response.body`."""

    async def __call__(self, descriptor: int, first: int, length: int, fetch: Fetch) -> bool:
        """Return whether that can be done now; if not, nothing is sent. A client that goes away ends it early."""
        ...


class RawSocket:
    """A second descriptor of a connection's socket, to which the event loop's own transport does not listen."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        self.ended = False

    async def send(self, data: bytes) -> None:
        """Send all of it; more will follow at once."""
        while data and not self.ended:
            try:
                data = data[self._socket.send(data, socket.MSG_MORE) :]
            except BlockingIOError:
                await self._writable()
            except OSError:  # the client has gone; the transport learns of it too
                self.ended = True

    async def send_file(self, descriptor: int, position: int, length: int) -> int:
        """Send some of it; return how much, 0 when the client has gone."""
        while not self.ended:
            try:
                return os.sendfile(self._socket.fileno(), descriptor, position, length)
            except BlockingIOError:
                await self._writable()
            except OSError:
                self.ended = True
        return 0

    async def _writable(self) -> None:
        waiter = self._waiter = self._loop.create_future()
        self._loop.add_writer(self._socket.fileno(), _wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._socket.fileno() >= 0:
                self._loop.remove_writer(self._socket.fileno())

    def close(self) -> None:
        """Close the socket, and wake who waits for it."""
        self.ended = True
        if self._waiter is not None:
            self._loop.remove_writer(self._socket.fileno())
            _wake(self._waiter)
        self._socket.close()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class HeadTransport:
    """The transport of a response to HEAD: all that is written is its head."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Write the head."""
        self._transport.write(spelled(data))

    def close(self) -> None:
        """Close the connection behind what was written."""
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection closes."""
        return self._transport.is_closing()


class ResponseTransport:
    """The transport that uvicorn writes one response to, in place of the connection's."""

    __slots__ = ("_begun", "_cycle", "_end_unread", "_head", "_raw", "_transport")

    def __init__(
        self,
        transport: asyncio.Transport,
        cycle: Cycle,
        raw: Callable[[], RawSocket | None],
        end_unread: Callable[[], None] | None,
    ) -> None:
        """`end_unread` ends a connection whose request has a body too long to be dropped; None for other requests."""
        self._transport, self._cycle, self._raw, self._end_unread = transport, cycle, raw, end_unread
        self._head, self._begun = b"", False

    def write(self, data: bytes) -> None:
        """Hold the head until the first of the body arrives; uvicorn writes something even for an empty one."""
        if self._head:
            head, self._head = self._head, b""
            if len(data) > _JOINED_AT_MOST:
                self._transport.writelines((head, data))
            else:
                self._transport.write(head + data)
        elif self._begun or data.startswith(b"HTTP/1.1 1"):  # "100 Continue" is waited for
            self._transport.write(data)
        else:
            is_unread = self._end_unread is not None and self._cycle.more_body
            head = spelled(data)
            self._head, self._begun = self._last(head) if is_unread else head, True

    def _last(self, head: bytes) -> bytes:
        """Return the head of the connection's last response: the request's body has not arrived, so none can follow."""
        if not self._cycle.keep_alive:
            return head
        self._cycle.keep_alive = False
        return head[:-2] + b"connection: close\r\n\r\n"

    async def send_file(self, descriptor: int, first: int, length: int, fetch: Fetch) -> bool:
        """See `SendFile`."""
        if not self._head or self._transport.get_write_buffer_size() or self._transport.is_closing():
            return False
        raw = self._raw()
        if raw is None:
            return False
        head, self._head = self._head, b""
        await raw.send(head)
        position, end = first, first + length
        while position < end and not raw.ended:
            ready = await fetch(position, min(PIECE, end - position))
            sent = await raw.send_file(descriptor, position, ready) if ready else 0
            if not sent:
                break
            position += sent
            if position < end:
                await asyncio.sleep(0)
        self._cycle.expected_content_length = 0
        if position < end:
            self._transport.abort()
        return True

    def close(self) -> None:
        """Close the connection behind what was written."""
        if self._head:
            self.write(b"")
        if self._end_unread is not None and self._cycle.more_body:
            self._end_unread()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection closes."""
        return self._transport.is_closing()
