"""What one pull costs the server, counted: no task, no timer, no thread, one write; and what must hold all the same."""

import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from catalog.blobs.index import BlobIndex
from oci.digest import Digest
from registry_api.connections.connection import AT_ONCE, Connection
from registry_api.connections.transports import COPIED_AT_MOST
from registry_api.http.threads import Threads
from tests.api.conftest import Api, codes, random_blob, serve
from tests.servers import wait_until

pytestmark = pytest.mark.disk

PULLS = 50


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the calls of what a pull can do without."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str, label: str = "", only: Callable[..., bool] = lambda *_: True) -> None:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if only(*args):
                counted[label or name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    count(uvloop.Loop, "create_task", only=lambda _, coroutine, *__: coroutine.__name__ in {"run_asgi", "_go_on"})
    count(uvloop.Loop, "call_later", only=lambda _, __, callback, *___: "timeout" in getattr(callback, "__name__", ""))
    count(Threads, "run", "thread")
    count(BlobIndex, "link", "look-up")
    count(BlobIndex, "size", "look-up")
    for name in ("open", "pread", "preadv", "sendfile"):
        count(os, name)
    return counted


def _request(api: Api, method: str, path: str, *lines: str) -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {api.authorization}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def _answers(sock: socket.socket, count: int, *, bodies: bool = True) -> list[tuple[bytes, bytes]]:
    """The next answers: heads and bodies."""
    data = b""
    found: list[tuple[bytes, bytes]] = []
    while len(found) < count:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0) if bodies else 0
        if end and len(rest) >= length:
            found.append((head, rest[:length]))
            data = rest[length:]
            continue
        part = sock.recv(1024 * 1024)
        assert part, f"closed after {len(found)} answers and {data[:200]!r}"
        data += part
    assert data == b""
    return found


def _pull(api: Api, calls: Counter[str], method: str, path: str, status: int) -> Counter[str]:
    """Send a request once, and then count the calls of PULLS more; each answer is in one piece."""
    with api.connection() as sock:
        raw = _request(api, method, path)
        for number in range(PULLS + 2):
            if number == 2:
                calls.clear()
            sock.sendall(raw)
            ((head, _body),) = _answers(sock, 1, bodies=method == "GET")
            assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    return Counter({name: count / PULLS for name, count in calls.items()})


@pytest.mark.embedded
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_costs_nothing_but_the_answer(
    api: Api, name: str, push_simple: Callable[..., Digest], calls: Counter[str], method: str
) -> None:
    push_simple("v1")
    assert _pull(api, calls, method, f"/v2/{name}/manifests/v1", 200) == Counter()


@pytest.mark.embedded
def test_a_missing_blob_costs_one_look_up(
    api: Api, name: str, push_simple: Callable[..., Digest], calls: Counter[str]
) -> None:
    push_simple("v1")
    missing = f"/v2/{name}/blobs/{Digest.of(random_blob())}"
    assert _pull(api, calls, "HEAD", missing, 404) == {"look-up": 1}
    assert _pull(api, calls, "GET", missing, 404) == {"look-up": 1}


def _push_layer(api: Api, name: str, data: bytes, push: Callable[..., Digest]) -> str:
    """Push an image with a layer of that content; return the layer's path."""
    digest = api.push_blob(name, data)
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(data)}
    push("v1", layers=[layer])
    return f"/v2/{name}/blobs/{digest}"


@pytest.mark.local_blobs("of calls of the system for a file")
@pytest.mark.parametrize("size", [10_000, 100_000])
def test_a_small_blob_is_opened_and_read_once(
    api: Api, name: str, push_simple: Callable[..., Digest], calls: Counter[str], size: int
) -> None:
    path = _push_layer(api, name, random_blob(size), push_simple)
    assert _pull(api, calls, "GET", path, 200) == {"open": 1, "preadv": 1}


@pytest.mark.local_blobs("of calls of the system for a file")
def test_a_blob_of_a_megabyte_is_sent_by_the_system(
    api: Api, name: str, push_simple: Callable[..., Digest], calls: Counter[str]
) -> None:
    path = _push_layer(api, name, random_blob(1_000_000), push_simple)
    cost = _pull(api, calls, "GET", path, 200)
    assert (cost["open"], cost["pread"], cost["thread"]) == (1, 0, 0)
    assert cost["sendfile"] >= 1


# --- what must hold all the same -------------------------------------------------------------------------------


def test_many_requests_that_come_together_are_answered_in_turn(
    api: Api, name: str, push_simple: Callable[..., Digest]
) -> None:
    """Some wait for a thread, some for nothing; some fail; the next one never overtakes."""
    push_simple("v1")
    data = random_blob(100)
    digest = api.push_blob(name, data)
    kinds = [
        (_request(api, "GET", f"/v2/{name}/manifests/v1"), b"200"),
        (_request(api, "GET", f"/v2/{name}/blobs/{digest}"), b"200"),
        (_request(api, "GET", f"/v2/{name}/blobs/{Digest.of(b'none')}"), b"404"),
        (_request(api, "GET", f"/v2/{name}/tags/list"), b"200"),
        (_request(api, "GET", "/healthz"), b"200"),
    ]
    with api.connection() as sock:
        sock.sendall(b"".join(raw for raw, _ in kinds) * 40)
        answers = _answers(sock, len(kinds) * 40)
    assert [head[9:12] for head, _ in answers] == [status for _, status in kinds] * 40
    assert {body for _, body in answers[1::5]} == {data}


def test_a_connection_that_sends_many_requests_at_once_leaves_others_their_turn(
    api: Api, name: str, push_simple: Callable[..., Digest], calls: Counter[str]
) -> None:
    push_simple("v1")
    with api.connection() as sock:
        sock.sendall(_request(api, "HEAD", f"/v2/{name}/manifests/v1") * 100)
        _answers(sock, 100, bodies=False)
    assert calls["create_task"] >= 100 - AT_ONCE * 4  # it may have arrived in a few parts


@pytest.mark.parametrize("size", [COPIED_AT_MOST, COPIED_AT_MOST + 1, 200_000])
def test_a_client_that_does_not_read_gets_it_all_in_the_end(api: Api, name: str, size: int) -> None:
    """The socket takes a part of a blob only, in the middle of a head too."""
    data = random_blob(size)
    digest = api.push_blob(name, data)
    with api.connection() as sock:
        sock.sendall(_request(api, "GET", f"/v2/{name}/blobs/{digest}") * 60)
        wait_until(lambda: bool(select.select([sock], [], [], 0)[0]), 10, "the answers begin")
        answers = _answers(sock, 60)
    assert {body for _, body in answers} == {data}


def test_a_body_nobody_asked_for_does_not_spoil_the_next_request(
    api: Api, name: str, push_simple: Callable[..., Digest]
) -> None:
    push_simple("v1")
    odd = _request(api, "GET", f"/v2/{name}/manifests/v1", "Content-Length: 20") + b"GET / HTTP/1.1\r\n\r\n.."
    with api.connection() as sock:
        sock.sendall(odd + _request(api, "GET", f"/v2/{name}/tags/list"))
        answers = _answers(sock, 2)
    assert [head[9:12] for head, _ in answers] == [b"200", b"200"]
    assert b'"tags"' in answers[1][1]


def test_an_idle_connection_is_closed_after_its_time_and_not_before(
    api: Api, name: str, push_simple: Callable[..., Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    push_simple("v1")
    with api.connection() as sock:
        sock.sendall(_request(api, "GET", f"/v2/{name}/manifests/v1"))
        _answers(sock, 1)
        assert not select.select([sock], [], [], 1.5)[0]
        monkeypatch.setattr(Connection, "timeout_keep_alive", property(lambda _: 0.1, lambda *_: None), raising=False)
        assert sock.recv(100) == b""


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Api, Api]]:
    """Two registries over one home."""
    with ExitStack() as stack:
        yield stack.enter_context(serve(tmp_path / "home")), stack.enter_context(serve(tmp_path / "home"))


def test_a_missing_blob_is_there_as_soon_as_another_server_has_taken_it(two: tuple[Api, Api]) -> None:
    one, other = two
    for _ in range(20):
        data = random_blob()
        path = f"/v2/team/app/blobs/{Digest.of(data)}"
        assert other.admin.head(path).status_code == 404
        one.push_blob("team/app", data)
        assert other.admin.head(path).status_code == 200
        assert other.admin.get(path).content == data


def test_a_missing_blob_and_a_private_one_look_the_same_to_a_stranger(api: Api, name: str) -> None:
    digest = api.push_blob(name, random_blob())
    for path in (f"/v2/{name}/blobs/{digest}", f"/v2/{name}/blobs/{Digest.of(random_blob())}"):
        answer = api.anybody.get(path)
        assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
        assert name in answer.json()["errors"][0]["message"]


def test_the_message_of_an_error_is_json_whatever_is_in_it(api: Api) -> None:
    answer = api.admin.get('/v2/team/app/manifests/%22%5C%0A%C3%A9"')
    assert answer.status_code in {400, 404}
    assert codes(answer)
