"""A TCP relay that holds every byte back for a while, as a distant upstream does; bandwidth stays as it is.

Run it as a process: `python -m benchmarks.delay LISTEN-PORT TARGET-PORT SECONDS`; it delays what the client sends, so that each
request comes so much later.
"""

import asyncio
import sys
from collections import deque
from typing import cast

import uvloop


class _Relay(asyncio.Protocol):
    """One direction of one connection: what arrives is written to `peer` when its time has come."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._held: deque[tuple[float, bytes | None]] = deque()
        self._waiting: asyncio.TimerHandle | None = None
        self.peer: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._seconds or self.peer is None:
            self._hold(data)
        else:
            self.peer.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._hold(None)

    def pause_writing(self) -> None:
        """Our client reads slowly: do not read from the other side meanwhile."""
        if self.peer is not None and not self.peer.is_closing():
            self.peer.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and not self.peer.is_closing():
            self.peer.resume_reading()

    def connect(self, peer: asyncio.Transport) -> None:
        self.peer = peer
        self.flush()

    def _hold(self, data: bytes | None) -> None:
        self._held.append((self._loop.time() + self._seconds, data))
        if self._waiting is None and self.peer is not None:
            self.flush()

    def flush(self) -> None:
        """Pass on what is due, and come back for the rest."""
        self._waiting = None
        assert self.peer is not None
        now = self._loop.time()
        while self._held and self._held[0][0] <= now:
            _, data = self._held.popleft()
            if data is None:
                self.peer.close()
            elif not self.peer.is_closing():
                self.peer.write(data)
        if self._held:
            self._waiting = self._loop.call_at(self._held[0][0], self.flush)


class _Front(_Relay):
    """A client's connection, for which one to the target is opened."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(seconds)
        self._port = port
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        back = _Relay(0.0)
        made, _ = await self._loop.create_connection(lambda: back, "127.0.0.1", self._port)
        assert self.transport is not None
        back.connect(self.transport)
        self.connect(made)


async def relay(listen: int, target: int, seconds: float) -> None:
    """Relay until the process ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Front(target, seconds), "127.0.0.1", listen)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(relay(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
