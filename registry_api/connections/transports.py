"""Transports of responses: the head together with the first of the body, and files by the system itself, without a copy.

uvicorn writes head and body one by one, which wakes the client twice, and passes all bytes through the process. Both took more
time than all the rest of a pull.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from registry_api.connections.heads import encode_headers, spelled
from registry_api.http.extensions import Fetch
from registry_api.http.messages import Headers

PIECE = 1024 * 1024
"""Bytes given to the system at once; other tasks run between two pieces."""

COPIED_AT_MOST = 256 * 1024
"""Bytes up to which a part of a file is copied: one call sends it with its head, for less than `sendfile` and a call more."""

_of_thread = threading.local()
_WITHOUT_LENGTH = (204, 304)
_JOINED_AT_MOST = 65_536
"""Bytes up to which copying a body behind its head costs less than handing over two pieces."""


class Flow(Protocol):
    """The part of uvicorn's flow control that we use."""

    write_paused: bool


class Cycle(Protocol):
    """The part of uvicorn's request cycle that we use."""

    access_log: bool
    default_headers: list[tuple[bytes, bytes]]
    disconnected: bool
    expected_content_length: int
    flow: Flow
    keep_alive: bool
    message_event: asyncio.Event
    more_body: bool
    """Whether some of the request's body has not arrived yet."""

    on_response: Callable[..., None]
    response_complete: bool
    response_started: bool
    scope: Scope
    transport: asyncio.Transport
    waiting_for_100_continue: bool


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

    def send_copy(self, head: bytes, descriptor: int, position: int, length: int) -> int:
        """Send a head and a part of a file by one call, where the page cache has all of it; return how many bytes were sent."""
        part = memoryview(_copy_buffer())[:length]
        try:
            if os.preadv(descriptor, [part], position, os.RWF_NOWAIT) != length:
                return 0
            return self._socket.sendmsg((head, part))
        except OSError:  # EAGAIN, a file system that cannot tell, or the client has gone: the long way finds out
            return 0

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


def _copy_buffer() -> bytearray:
    """Return this thread's buffer, which nobody uses beyond one call: a new one would be zeroed each time."""
    buffer: bytearray | None = getattr(_of_thread, "buffer", None)
    if buffer is None:
        buffer = _of_thread.buffer = bytearray(COPIED_AT_MOST)
    return buffer


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class HeadTransport:
    """The transport of a response to HEAD: all that is written is its head."""

    __slots__ = ("_cycle", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: Cycle) -> None:
        self._transport, self._cycle = transport, cycle

    def write(self, data: bytes) -> None:
        """Write the head."""
        self._transport.write(spelled(data))

    def send_whole(self, status: int, headers: Headers, _body: bytes) -> bool:
        """See `SendWhole`."""
        head = _head_of(self._cycle, status, headers, None)
        if head is None:
            return False
        self._transport.write(head)
        _complete(self._cycle, self._transport)
        return True

    def close(self) -> None:
        """Close the connection behind what was written."""
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection closes."""
        return self._transport.is_closing()


def _head_of(cycle: Cycle, status: int, headers: Headers, length: int | None) -> bytes | None:
    """Return the head of a response with a body of a length, of any to HEAD; None where uvicorn has more to do than write it."""
    if cycle.access_log or not cycle.keep_alive or cycle.disconnected or cycle.flow.write_paused:
        return None
    encoded = encode_headers(tuple(headers))
    if encoded is None:
        return None
    if encoded.length is None:
        if status not in _WITHOUT_LENGTH or length:
            return None
    elif length is not None and encoded.length != length:
        return None
    defaults = b"".join([b"%s: %s\r\n" % pair for pair in cycle.default_headers])
    return b"%b%b%b\r\n" % (STATUS_LINE[status], defaults, encoded.lines)


def _complete(cycle: Cycle, transport: asyncio.Transport) -> None:
    """Note that the response is sent, as uvicorn does behind the last part of a body; leave no circle of references."""
    if not cycle.keep_alive:  # the client asked for it, or the server is stopping
        transport.close()
    cycle.transport = transport
    cycle.scope["extensions"] = {}
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.message_event.set()
    cycle.on_response()


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
            self._write_both(head, data)
        elif self._begun or data.startswith(b"HTTP/1.1 1"):  # "100 Continue" is waited for
            self._transport.write(data)
        else:
            is_unread = self._end_unread is not None and self._cycle.more_body
            head = spelled(data)
            self._head, self._begun = self._last(head) if is_unread else head, True

    def _write_both(self, head: bytes, body: bytes) -> None:
        if len(body) > _JOINED_AT_MOST:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)

    def _last(self, head: bytes) -> bytes:
        """Return the head of the connection's last response: the request's body has not arrived, so none can follow."""
        if not self._cycle.keep_alive:
            return head
        self._cycle.keep_alive = False
        return head[:-2] + b"connection: close\r\n\r\n"

    def send_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """See `SendWhole`."""
        if self._begun or self._end_unread is not None:
            return False
        head = _head_of(self._cycle, status, headers, len(body))
        if head is None:
            return False
        self._begun = True
        self._write_both(head, body)
        _complete(self._cycle, self._transport)
        return True

    async def send_file(
        self, status: int, headers: Headers, descriptor: int, first: int, length: int, fetch: Fetch
    ) -> bool:
        """See `SendFile`."""
        transport = self._transport
        if self._begun or self._end_unread is not None or transport.get_write_buffer_size() or transport.is_closing():
            return False
        head, raw = _head_of(self._cycle, status, headers, length), self._raw()
        if head is None or raw is None:
            return False
        self._begun = self._cycle.response_started = True
        sent = raw.send_copy(head, descriptor, first, length) if length <= COPIED_AT_MOST else 0
        if sent < len(head):
            await raw.send(head[sent:])
        position, end = first + max(0, sent - len(head)), first + length
        while position < end and not raw.ended:
            ready = await fetch(position, min(PIECE, end - position))
            sent = await raw.send_file(descriptor, position, ready) if ready else 0
            if not sent:
                break
            position += sent
            if position < end:
                await asyncio.sleep(0)
        if position < end:
            transport.abort()
        _complete(self._cycle, self._transport)
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
