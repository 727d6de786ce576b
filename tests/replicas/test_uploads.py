"""One upload session over several replicas, without affinity: each request may reach another one."""

import asyncio
import itertools
import os
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from oci.copy import copy_graph
from oci.digest import Digest
from oci.layout import Layout
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import codes, random_blob
from tests.proxy import Proxy
from tests.replicas.conftest import Replica, Trio
from tests.servers import Client, EntrepotServer, S3Server, wait_until

Connect = Callable[[EntrepotServer], httpx.Client]
MIB = 1024 * 1024
UPLOADS = "/v2/team/app/blobs/uploads/"


class Turns:
    """Sends each request to the next replica."""

    def __init__(self, clients: Sequence[httpx.Client]) -> None:
        self.clients = clients
        self._next = itertools.cycle(clients)

    def __call__(self, method: str, path: str, **options: object) -> httpx.Response:
        return next(self._next).request(method, path, **options)  # type: ignore[arg-type]

    def open(self) -> str:
        """Open a session; return where it is."""
        answer = self("POST", UPLOADS)
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    def append(self, location: str, start: int, data: bytes) -> httpx.Response:
        """Send a chunk that says where it begins."""
        headers = {"Content-Range": f"{start}-{start + len(data) - 1}"}
        return self("PATCH", location, content=data, headers=headers)

    def close(self, location: str, data: bytes, rest: bytes = b"", algorithm: str = "sha256") -> httpx.Response:
        """Close a session as the blob `data`, of which `rest` is still to be sent."""
        return self("PUT", location, params={"digest": Digest.of(data, algorithm)}, content=rest)

    def assert_held(self, data: bytes, algorithm: str = "sha256") -> None:
        """Read a blob from every replica."""
        for client in self.clients:
            answer = client.get(f"/v2/team/app/blobs/{Digest.of(data, algorithm)}", follow_redirects=True)
            assert (answer.status_code, answer.content == data) == (200, True)


@pytest.fixture
def registry(trio: Trio, client: Connect) -> Turns:
    """Three replicas, which take turns."""
    return Turns([client(server) for server in trio.servers])


def pieces(store: S3Server) -> list[Path]:
    """Return the pieces in the bucket."""
    return [path for path in (store.folder / "registry" / "uploads").rglob("*") if path.is_file()]


def cut(data: bytes, sizes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield chunks of these sizes, over and over, with where they begin."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(data):
            return
        yield start, data[start : start + size]
        start += size


def test_a_session_goes_round_all_replicas_in_chunks_of_any_size(registry: Turns, trio: Trio) -> None:
    for size, sizes, algorithm in (
        (70_001, [1, 6_999, 13_337, 2], "sha256"),
        (70_001, [30_000], "sha512"),
        (17 * MIB + 3, [5 * MIB, 5 * MIB + 1, 6 * MIB], "sha256"),  # S3 joins these
        (11 * MIB, [5 * MIB - 1], "sha256"),  # and not these
        (3 * MIB, [3 * MIB], "sha256"),
    ):
        data = random_blob(size)
        location = registry.open()
        for start, chunk in cut(data, sizes):
            ahead = registry.append(location, start + 1, chunk)
            assert (ahead.status_code, codes(ahead)) == (416, ["BLOB_UPLOAD_INVALID"])
            assert ahead.headers["range"] == f"0-{max(start - 1, 0)}"
            answer = registry.append(location, start, chunk)
            assert (answer.status_code, answer.headers["range"]) == (202, f"0-{start + len(chunk) - 1}")
            for _ in registry.clients:
                status = registry("GET", location)
                assert (status.status_code, status.headers["range"]) == (204, answer.headers["range"])
        assert registry.close(location, data, algorithm=algorithm).status_code == 201
        registry.assert_held(data, algorithm)
        assert [registry("GET", location).status_code for _ in registry.clients] == [404] * 3
        assert pieces(trio.store) == []


def test_the_last_chunk_may_come_with_the_request_that_closes_the_session(registry: Turns, trio: Trio) -> None:
    data = random_blob(100_000)
    for sent in (0, 60_000):
        location = registry.open()
        if sent:
            assert registry("PATCH", location, content=data[:sent]).status_code == 202
        assert registry.close(location, data, data[sent:]).status_code == 201
    registry.assert_held(data)
    assert pieces(trio.store) == []


def test_what_is_cancelled_or_wrong_is_gone_everywhere(registry: Turns, trio: Trio) -> None:
    first, second = random_blob(50_000), random_blob(50_000)
    for rest in (b"", second):
        location = registry.open()
        registry("PATCH", location, content=first)
        refused = registry.close(location, random_blob(), rest)
        assert (refused.status_code, codes(refused)) == (400, ["DIGEST_INVALID"])
        for answer in (registry("GET", location), registry("GET", location)):
            assert (answer.status_code, codes(answer)) == (404, ["BLOB_UPLOAD_UNKNOWN"])
        for absent in (first, first + rest):
            assert registry("HEAD", f"/v2/team/app/blobs/{Digest.of(absent)}").status_code == 404
        assert pieces(trio.store) == []
    location = registry.open()
    registry("PATCH", location, content=first)
    assert len(pieces(trio.store)) == 1
    assert registry("DELETE", location).status_code == 204
    for method in ("GET", "DELETE", "PATCH", "PUT"):
        answer = registry(method, location, params={"digest": Digest.of(first)})
        assert (answer.status_code, codes(answer)) == (404, ["BLOB_UPLOAD_UNKNOWN"])
    assert pieces(trio.store) == []


def test_sessions_are_limited_and_expire_over_all_replicas(replica: Replica, client: Connect, store: S3Server) -> None:
    settings = {"ENTREPOT_MAX_UPLOADS": "3", "ENTREPOT_UPLOAD_EXPIRY": "6"}
    registry = Turns([client(replica(**settings)) for _ in range(2)])
    idle = [registry.open() for _ in range(3)]
    assert [registry("POST", UPLOADS).status_code for _ in range(2)] == [429, 429]
    assert registry("POST", "/v2/team/other/blobs/uploads/").status_code == 202
    registry("PATCH", idle[0], content=b"some bytes")
    orphan = pieces(store)[0].with_name(f"{'0' * 32}-0-{'a' * 12}")
    orphan.write_bytes(b"left by one that was killed")
    os.utime(orphan, (time.time() - 60, time.time() - 60))
    busy, data = idle[1], b""
    for number in range(10):
        data += b"%d" % number
        assert registry("PATCH", busy, content=b"%d" % number).status_code == 202
        time.sleep(1)
    assert [registry("GET", idle[0]).status_code, registry("GET", idle[2]).status_code] == [404, 404]
    wait_until(lambda: len(pieces(store)) == 10, 5, "the pieces of what has expired are removed, and no others")
    assert registry.close(busy, data).status_code == 201
    registry.assert_held(data)
    assert pieces(store) == []


@contextmanager
def half_sent(server: EntrepotServer, location: str, data: bytes, sent: int, start: int) -> Iterator[socket.socket]:
    """Begin a PATCH, send some of its body, and wait until the replica has written that."""
    token = b64encode(server.creds.encode()).decode()
    head = (
        f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\nConnection: close\r\n"
        f"Content-Length: {len(data)}\r\nContent-Range: {start}-{start + len(data) - 1}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as sock:
        sock.sendall(head.encode() + data[:sent])
        staging = server.home / "staging"
        wait_until(lambda: any(path.stat().st_size > 0 for path in staging.iterdir()), 20, "some is written")
        yield sock


def test_after_a_kill_in_the_midst_of_a_chunk_the_session_goes_on_elsewhere(
    replica: Replica, client: Connect, store: S3Server
) -> None:
    first, second = replica(), replica()
    registry = Turns([client(second)])
    data = random_blob(9 * MIB)
    location = client(first).post(UPLOADS).headers["location"]
    assert client(first).patch(location, content=data[: 2 * MIB]).status_code == 202
    with half_sent(first, location, data[2 * MIB :], 3 * MIB, 2 * MIB):
        first.child.kill()
    assert registry("GET", location).headers["range"] == f"0-{2 * MIB - 1}"
    assert registry.append(location, 2 * MIB, data[2 * MIB : 7 * MIB]).status_code == 202
    assert registry.close(location, data, data[7 * MIB :]).status_code == 201
    registry.assert_held(data)
    assert pieces(store) == []
    first.restart()
    assert client(first).get(f"/v2/team/app/blobs/{Digest.of(data)}", follow_redirects=True).content == data


def test_what_came_before_a_break_is_kept_for_another_replica(trio: Trio, client: Connect) -> None:
    registry = Turns([client(server) for server in trio.servers[1:]])
    data = random_blob(5 * MIB)
    location = registry.open()
    with half_sent(trio.servers[0], location, data, 3 * MIB, 0):
        pass
    wait_until(lambda: registry("GET", location).headers["range"] != "0-0", 20, "what came is acknowledged")
    kept = int(registry("GET", location).headers["range"].removeprefix("0-")) + 1
    assert MIB < kept <= 3 * MIB
    assert registry.append(location, kept, data[kept:]).status_code == 202
    assert registry.close(location, data).status_code == 201
    registry.assert_held(data)


def test_of_two_chunks_at_once_on_two_replicas_one_is_taken(registry: Turns, trio: Trio) -> None:
    begin = random_blob(1000)
    for turn in range(4):
        location = registry.open()
        assert registry("PATCH", location, content=begin).status_code == 202
        bodies = [random_blob(2 * MIB + turn), random_blob(2 * MIB + turn)]
        statuses: dict[int, bytes] = {}
        with (
            half_sent(trio.servers[0], location, bodies[0], MIB + 10, 1000) as one,
            half_sent(trio.servers[1], location, bodies[1], MIB + 10, 1000) as other,
        ):

            def end(number: int, sock: socket.socket) -> None:
                sock.sendall(bodies[number][MIB + 10 :])  # noqa: B023  # it ends within this turn
                statuses[number] = sock.recv(4096)  # noqa: B023

            threads = [threading.Thread(target=end, args=pair) for pair in enumerate((one, other))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(answer.split()[1] for answer in statuses.values()) == [b"202", b"416"]
        winner = next(number for number, answer in statuses.items() if answer.split()[1] == b"202")
        whole = begin + bodies[winner]
        assert f"range: 0-{len(whole) - 1}\r\n" in statuses[1 - winner].decode().lower()
        assert len(pieces(trio.store)) == 2
        assert registry("GET", location).headers["range"] == f"0-{len(whole) - 1}"
        assert registry.close(location, whole).status_code == 201
        registry.assert_held(whole)
    assert pieces(trio.store) == []


def make_layout(folder: Path) -> str:
    """Make a layout with an image of layers that nobody has; return what skopeo and podman call it."""

    async def fill() -> None:
        store = MemoryStore()
        image = pack_image(store, [{"file": random_blob(size).hex()} for size in (10, 200_000, 4 * MIB)])
        layout = Layout.create(folder)
        await copy_graph(store, layout, image.descriptor)
        await layout.write_tag("v1", image)

    asyncio.run(fill())
    return f"oci:{folder}:v1"


@pytest.mark.slow
def test_skopeo_and_podman_push_through_a_balancer_without_affinity(
    replica: Replica, store: S3Server, skopeo: Client, podman: Client, tmp_path: Path
) -> None:
    servers = [replica(ENTREPOT_AUTH="basic") for _ in range(2)]
    with Proxy(*(server.url for server in servers)) as balancer:
        skopeo("copy", "--dest-creds", servers[0].creds, "--dest-tls-verify=false",
               make_layout(tmp_path / "first"), f"docker://{balancer.host}/team/skopeo:v1")  # fmt: skip
        assert pieces(store) == []
        image = podman("pull", make_layout(tmp_path / "second")).stdout.strip()
        podman("push", "--creds", servers[0].creds, "--tls-verify=false", image, f"{balancer.host}/team/podman:v1")
        assert pieces(store) == []
        patched = [one for one in balancer.seen if one.method == "PATCH"]
        closed = [one for one in balancer.seen if one.method == "PUT" and "/blobs/uploads/" in one.path]
        assert len(patched) == len(closed) == 8
        assert ({one.status for one in patched}, {one.status for one in closed}) == ({202}, {201})
        for name in ("skopeo", "podman"):
            podman("rmi", "--all", "--force")
            podman("pull", "--tls-verify=false", f"{balancer.host}/team/{name}:v1")
