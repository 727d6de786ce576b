"""Connections that misbehave: heads that never end, clients that vanish; none of it stays, and nobody else notices."""

import contextlib
import json
import re
import socket
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from oci import mediatypes
from oci.digest import Digest
from tests.api.conftest import Api, random_blob
from tests.conftest import EntrepotFactory
from tests.servers import EntrepotServer, wait_until

pytestmark = pytest.mark.disk


def _rest(sock: socket.socket) -> bytes:
    """All that still comes, until the other side closes."""
    received = b""
    while part := sock.recv(65536):
        received += part
    return received


@pytest.mark.parametrize("sent", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_request_that_does_not_begin_is_ended(api: Api, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr("registry_api.connections.connection.HEAD_PATIENCE", 0.2)
    with api.connection() as sock:
        sock.sendall(sent)
        assert _rest(sock).startswith(b"HTTP/1.1 408 ")


def test_a_second_request_that_does_not_begin_is_ended_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_api.connections.connection.HEAD_PATIENCE", 0.2)
    with api.connection() as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT")
        received = _rest(sock)
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.count(b"HTTP/1.1 408 ") == 1


def test_an_idle_connection_outlives_the_patience_with_heads(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go's clients keep connections for a minute and more between requests."""
    monkeypatch.setattr("registry_api.connections.connection.HEAD_PATIENCE", 0.2)
    with api.connection() as idle, api.connection() as stalled:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        stalled.sendall(b"GET ")
        assert _rest(stalled).startswith(b"HTTP/1.1 408 ")
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert _rest(idle).startswith(b"HTTP/1.1 200 ")


def _send_headers(sock: socket.socket, count: int) -> None:
    for number in range(count):
        sock.sendall(b"X-%d: %s\r\n" % (number, b"x" * 10_000))


def test_a_head_without_end_is_refused_before_it_fills_the_memory(api: Api) -> None:
    with api.connection() as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(ConnectionError):
            _send_headers(sock, 10_000)


def test_a_head_of_ordinary_size_is_taken(api: Api) -> None:
    """Tokens with many scopes take kilobytes."""
    assert api.anybody.get("/healthz", headers={"X-Long": "x" * 50_000}).status_code == 200


def test_an_answer_comes_in_one_piece(api: Api, name: str) -> None:
    """A head and a body written one by one wake the client twice."""
    data = b"HTTP/1.1 200 OK\r\n\r\nthis looks like an answer and is a blob"
    digest = api.push_blob(name, data)
    for path, expected in ((f"/v2/{name}/blobs/{digest}", data), ("/healthz", api.anybody.get("/healthz").content)):
        asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n\r\n"
        with api.connection() as sock:
            for _ in range(20):
                sock.sendall(asked.encode())
                head, _, body = sock.recv(65536).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                assert body == expected


def _open(server: EntrepotServer) -> Counter[str]:
    """What is open, by name, without numbers; not the catalogue's files, which each thread opens for itself once."""
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{server.child.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[re.sub(r"\d+", "N", str(entry.readlink()).removeprefix(str(server.home)))] += 1
    return Counter({name: count for name, count in found.items() if not name.startswith("/catalog/")})


def _push_tags(server: EntrepotServer, count: int) -> None:
    """Make as many commits."""
    url, config = f"{server.url}/v2/team/app", b"{}"
    described = {"mediaType": mediatypes.OCI_EMPTY, "digest": Digest.of(config), "size": len(config)}
    manifest = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": described, "layers": []}
    with httpx.Client(auth=server.auth, trust_env=False) as client:
        uploaded = client.post(f"{url}/blobs/uploads/", params={"digest": Digest.of(config)}, content=config)
        statuses = [uploaded.status_code]
        for number in range(count):
            pushed = client.put(
                f"{url}/manifests/v{number}",
                content=json.dumps({**manifest, "annotations": {"number": str(number)}}),
                headers={"Content-Type": mediatypes.OCI_MANIFEST},
            )
            statuses.append(pushed.status_code)
    assert statuses == [201] * (count + 1)


def test_a_thousand_requests_leave_no_descriptor_open(entrepot_server: EntrepotFactory) -> None:
    server, data = entrepot_server(), random_blob(300_000)
    url = f"{server.url}/v2/team/app"

    def requests(times: int) -> None:
        for number in range(times):
            with httpx.Client(auth=server.auth, trust_env=False) as client:
                own = data + str(number).encode()
                digest = Digest.of(own)
                statuses = [
                    client.post(f"{url}/blobs/uploads/", params={"digest": digest}, content=own).status_code,
                    client.get(f"{url}/blobs/{digest}").status_code,
                    client.get(f"{url}/blobs/{digest}", headers={"Range": "bytes=5-10"}).status_code,
                    client.head(f"{url}/blobs/{digest}").status_code,
                    client.get(f"{url}/blobs/{digest}", auth=("admin", "wrong")).status_code,
                    client.get(f"{url}/manifests/none").status_code,
                    client.post(f"{url}/blobs/uploads/", params={"digest": digest}, content=b"other").status_code,
                ]
                assert statuses == [201, 200, 206, 200, 401, 404, 400]
                location = client.post(f"{url}/blobs/uploads/").headers["location"]
                with ExitStack() as stack:
                    broken = [
                        stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(2)
                    ]
                    broken[0].sendall(f"GET /v2/team/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    broken[1].sendall(f"PATCH {location} HTTP/1.1\r\nContent-Length: 9\r\n\r\n123".encode())
                assert client.delete(f"{server.url}{location}").status_code == 204

    _push_tags(server, 6)
    requests(
        5
    )  # what is opened once for all: threads, their connections to the catalogue, pools, the worker that commits
    before = _open(server)
    requests(91)
    wait_until(lambda: not (_open(server) - before), 20, f"nothing more is open than before: {_open(server) - before}")
