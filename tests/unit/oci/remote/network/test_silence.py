"""An upstream that is silent is waited for so long in all, and no longer: at the connection, the head and the body."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.runs.progress import Progress
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import RemoteSilent, RemoteUnavailable
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.address import parse_remote
from oci.remote.limits.traffic import Traffic
from oci.remote.network.silence import Silence
from oci.remote.options import RemoteOptions
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.upstream import Upstream

BLOB = Descriptor("application/octet-stream", Digest.of(b"x" * 1000), 1000)


class Mute:
    """Takes connections; answers each with what it is given, and then falls silent."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self.taken, self.patched = answer, 0, 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = self._socket.accept()
                self.taken += 1
                self._open.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := connection.recv(65536):
                if b"GET /v2/ " in request:
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                elif request.startswith(b"PATCH"):
                    self.patched += 1
                    return  # nothing that comes now is read
                elif request.startswith(b"HEAD"):
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                elif self._answer:
                    connection.sendall(self._answer)

    def close(self) -> None:
        for one in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def mute(answer: bytes = b"") -> Iterator[Mute]:
    served = Mute(answer)
    try:
        yield served
    finally:
        served.close()


def ask(host: str, act: Any, traffic: Traffic | None = None, **options: Any) -> Any:
    async def main() -> Any:
        made = RemoteOptions(**{"attempts": 100, "read_timeout": 0.1, "silence_timeout": 0.35, **options})
        async with RemoteTransport(host, scheme="http", options=made, traffic=traffic, jitter=lambda: 0.0) as transport:
            return await act(RemoteRepository(transport, "team/app"))

    return asyncio.run(main())


async def read(remote: RemoteRepository) -> bytes:
    return b"".join([chunk async for chunk in remote.read_blob(BLOB)])


async def list_tags(remote: RemoteRepository) -> list[str]:
    return [tag async for tag in remote.tags()]


def test_one_that_never_answers_is_given_up() -> None:
    """A hundred tries are left: what ends it is the time that all of them have taken."""
    with (
        mute() as upstream,
        pytest.raises(RemoteSilent, match=r"has not sent a byte for 0\.35 s \(ENTREPOT_SILENCE_TIMEOUT"),
    ):
        ask(upstream.host, list_tags)
    assert 2 <= upstream.taken <= 6


def test_what_the_last_try_failed_with_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(RemoteSilent, match="the last try: cannot be reached"):  # nobody listens there
        ask(host, list_tags, attempts=100_000)


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_one_that_stops_in_the_middle_of_a_blob_is_given_up(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    with mute(head + body) as upstream, pytest.raises(RemoteUnavailable):
        ask(upstream.host, read)
    assert upstream.taken <= 6


def test_one_that_does_not_take_what_is_sent_is_given_up() -> None:
    large = bytes(50_000_000)
    descriptor = Descriptor("application/octet-stream", Digest.of(large), len(large))

    async def push(remote: RemoteRepository) -> None:
        async def read(start: int) -> AsyncIterator[bytes]:
            for place in range(start, len(large), 65536):
                yield large[place : place + 65536]

        await remote.uploads.upload(descriptor, read)

    opened = b"HTTP/1.1 202 Accepted\r\nlocation: /v2/team/app/blobs/uploads/1\r\ncontent-length: 0\r\n\r\n"
    with mute(opened) as upstream, pytest.raises(RemoteUnavailable):
        ask(upstream.host, push, silence_timeout=0.15)
    assert 2 <= upstream.patched <= 10  # those behind the first took no byte that was new, which does not prolong it


def test_nobody_waits_for_one_that_was_given_up_a_moment_ago() -> None:
    """Neither the others in the same run, nor those of another repository of the same registry."""
    with mute() as upstream:

        async def together(remote: RemoteRepository) -> list[object]:
            return await asyncio.gather(*(remote.resolve(f"v{number}") for number in range(20)), return_exceptions=True)

        traffic = Traffic()
        found = ask(upstream.host, together, traffic)
        assert all(isinstance(one, RemoteSilent) for one in found)
        taken = upstream.taken
        with pytest.raises(RemoteSilent):
            ask(upstream.host, list_tags, traffic)
        assert upstream.taken == taken


def test_one_that_answers_late_but_answers_is_waited_for() -> None:
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"a": "b"}]).digest)
    with Upstream({"team/app": store}) as upstream:
        upstream.silence(route="manifest", seconds=0.3)

        async def thrice(remote: RemoteRepository) -> None:
            for _ in range(3):
                await remote.resolve("v1")

        ask(upstream.host, thrice, read_timeout=1.0, silence_timeout=0.8)


def test_the_rule() -> None:
    now = [100.0]
    silence = Silence(clock=lambda: now[0])
    assert silence.left(120) == 120
    silence.failed(since=90.0)
    assert silence.left(120) == 110
    now[0] = 125.0
    silence.failed(since=110.0)  # of a question that was asked later
    assert silence.left(120) == 85
    silence.heard()
    assert silence.left(120) == 120
    silence.failed(since=5.0)
    assert silence.left(120) == 0
    now[0] += 31  # nobody has asked meanwhile: that was no silence
    assert silence.left(120) == 120


def test_who_waits_is_told_for_how_long() -> None:
    now = [100.0]
    silence = Silence(clock=lambda: now[0])
    assert silence.seconds == 0
    silence.asked()
    now[0] = 107.0
    silence.asked()
    assert silence.seconds == 7
    silence.heard()
    now[0] = 108.0
    assert silence.seconds == 1
    silence.done()
    silence.done()
    assert silence.seconds == 0


def test_a_command_shows_for_whom_it_waits(tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with Upstreams(read_settings(home=tmp_path), None) as upstreams:
            remote = parse_remote("registry.example/team/app")
            transport = await upstreams.new_transport(remote)
            progress = Progress("copying", 3, 1, waits=upstreams.waiting)
            said = [progress.describe()]
            silence = transport._traffic.silence
            silence._clock = lambda: 0.0
            silence.asked()
            silence._clock = lambda: 42.0
            said.append(progress.describe())
            silence.done()
            said.append(progress.describe())
            await transport.close()
            return said

    nobody = "copying 1 of 3 tags"
    assert asyncio.run(main()) == [nobody, f"{nobody}, waiting for registry.example for 42 s", nobody]
