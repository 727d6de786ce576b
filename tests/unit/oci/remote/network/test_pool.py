"""Connections of a client: used again, bounded, and given back whatever becomes of a request."""

import asyncio
import ssl
from collections.abc import Iterator

import httpcore
import pytest

from oci.errors import RemoteError
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.network.pool import ConnectionPool
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.upstream import Upstream

pytestmark = pytest.mark.anyio
NAME, COUNT = "team/app", 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    store = MemoryStore(NAME)
    for number in range(COUNT):
        store.put_tag(f"v{number}", pack_image(store, [{"file": str(number)}]).digest)
    with Upstream({NAME: store}) as served:
        yield served


def transport(upstream: Upstream, connections: int) -> RemoteTransport:
    return RemoteTransport(upstream.host, scheme="http", options=RemoteOptions(connections=connections, attempts=1))


def opened(upstream: Upstream) -> set[int]:
    """The ports from which the upstream was asked: one for each connection."""
    return {seen.port for seen in upstream.seen}


async def test_one_connection_serves_all_that_follow_each_other(upstream: Upstream) -> None:
    async with transport(upstream, 4) as connected:
        repository = RemoteRepository(connected, NAME)
        for number in range(COUNT):
            await repository.resolve(f"v{number}")
    assert len(opened(upstream)) == 1


async def test_no_more_connections_than_allowed_and_all_are_used(upstream: Upstream) -> None:
    upstream.silence(route="manifest", seconds=0.02)
    async with transport(upstream, 4) as connected:
        repository = RemoteRepository(connected, NAME)
        await asyncio.gather(*(repository.resolve(f"v{number}") for number in range(COUNT)))
    assert upstream.most_at_once == 4
    assert len(opened(upstream)) == 4


async def test_a_connection_that_the_server_has_closed_is_not_used_again(upstream: Upstream) -> None:
    async with transport(upstream, 1) as connected:
        repository = RemoteRepository(connected, NAME)
        await repository.resolve("v0")
        upstream.close_connections()
        await asyncio.sleep(0.1)
        await repository.resolve("v1")
    assert len(opened(upstream)) == 2


async def test_places_are_free_again_after_failures_breaks_and_cancellations(upstream: Upstream) -> None:
    store = upstream.repositories[NAME]
    blob = store.manifests[store.tagged["v0"]].layers[0]
    async with transport(upstream, 1) as connected:
        repository = RemoteRepository(connected, NAME)
        failing = repository.failing_fast()
        for _ in range(3):
            with pytest.raises(RemoteError):
                await repository.resolve("missing")
            upstream.cut(blob.digest, after=1)
            with pytest.raises(RemoteError):
                async for _chunk in failing.read_blob(blob):
                    pass
            upstream.silence(route="manifest", seconds=30, only="v1")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(repository.resolve("v1"), 0.1)
            upstream.faults.clear()
            async with asyncio.timeout(10):
                await repository.resolve("v2")


async def test_many_that_find_expired_connections_at_once_make_new_ones(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oci.remote.network.pool._IDLE_SECONDS", 0.2)
    upstream.silence(route="manifest", seconds=0.02)
    async with transport(upstream, 8) as connected:
        repository = RemoteRepository(connected, NAME)
        for _ in range(3):
            await asyncio.gather(*(repository.resolve(f"v{number}") for number in range(8)))
            await asyncio.sleep(0.3)  # they expire


async def test_a_closed_pool_keeps_no_connection() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = ConnectionPool(context=ssl.create_default_context(), backend=httpcore.AnyIOBackend(), connections=1)
    response = await pool.handle_async_request(
        httpcore.Request("GET", f"http://127.0.0.1:{port}/", headers={"Host": "x"})
    )
    await pool.aclose()
    assert await response.aread() == b"ok"
    await response.aclose()
    assert pool._idle == []
    server.close()
    await server.wait_closed()
