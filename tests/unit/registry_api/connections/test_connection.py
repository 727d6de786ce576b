"""Connections that have nothing more to do: they end, whatever came before."""

import asyncio
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from registry_api.connections.connection import Connection
from registry_api.http.extensions import SEND_FILE
from registry_api.server.process import Server

pytestmark = pytest.mark.anyio
SIZE = 12 * 1024 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class SilentTransport(asyncio.Transport):
    """The transport of a client that takes whatever comes."""

    closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("length", "later"),
    [(b"5", b"12345"), (b"5", b"12"), (b"0", b"\r\n"), (b"0", b"")],
    ids=["body", "part", "line", ""],
)
async def test_an_idle_connection_ends_whatever_came_after_its_response(length: bytes, later: bytes) -> None:
    config = uvicorn.Config(refuse, timeout_keep_alive=0)
    config.load()
    connection, transport = Connection(config, ServerState(), {}), SilentTransport()
    connection.connection_made(transport)
    connection.data_received(b"POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + b"\r\n\r\n")
    await asyncio.sleep(0.05)
    assert not transport.closed
    if later:
        connection.data_received(later)
    await asyncio.sleep(0.05)
    connection.end_if_stalled()
    assert transport.closed


async def test_a_server_that_stops_ends_a_connection_once_its_file_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "layer"
    file.write_bytes(bytes(SIZE))

    async def fetch(_position: int, length: int) -> int:
        return length  # it is all there

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):  # it starts, and it stops
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
            return
        headers = [(b"content-length", b"%d" % SIZE)]
        with file.open("rb") as opened:
            assert await scope["extensions"][SEND_FILE](200, headers, opened.fileno(), 0, SIZE, fetch)

    config = uvicorn.Config(
        app, http=Connection, port=0, lifespan="on", log_level="warning", access_log=False, timeout_graceful_shutdown=60
    )
    server = Server(config)
    run = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
    writer.write(b"GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    server.should_exit = True
    await asyncio.sleep(0.3)
    assert len(await reader.readexactly(SIZE)) == SIZE
    await asyncio.wait_for(run, 30)
    writer.close()
