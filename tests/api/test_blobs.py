"""Blobs on their way out: whole, in part, and not at all."""

import contextlib
import os
import socket
from typing import IO

import httpx
import pytest

from oci.digest import Digest
from tests.api.conftest import Api, codes, random_blob
from tests.on_postgresql import blob_folder
from tests.servers import wait_until

pytestmark = pytest.mark.disk

DATA = bytes(range(256)) * 40


@pytest.fixture
def blob(api: Api, name: str) -> str:
    """The path of a blob of DATA."""
    return f"/v2/{name}/blobs/{api.push_blob(name, DATA)}"


def test_get_and_head_say_length_digest_and_etag(api: Api, blob: str) -> None:
    digest = Digest.of(DATA)
    got, head = api.admin.get(blob), api.admin.head(blob)
    assert got.content == DATA
    assert head.content == b""
    for answer in (got, head):
        assert answer.status_code == 200
        assert answer.headers["content-length"] == str(len(DATA))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["docker-content-digest"] == digest
        assert answer.headers["etag"] == f'"{digest}"'
        assert answer.headers["accept-ranges"] == "bytes"


def test_what_the_client_has_is_304(api: Api, blob: str) -> None:
    for method in ("GET", "HEAD"):
        answer = api.admin.request(method, blob, headers={"If-None-Match": f'"x", W/"{Digest.of(DATA)}"'})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == f'"{Digest.of(DATA)}"'


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=500-1499", 500, 1499),
        ("bytes=500-", 500, 10239),
        ("bytes=-500", 9740, 10239),
        ("bytes=-99999999", 0, 10239),
        ("bytes=0-0", 0, 0),
        ("bytes=10239-99999999999999999999999999", 10239, 10239),
        ("BYTES = 1-2", 1, 2),
    ],
)
def test_one_range_is_206(api: Api, blob: str, asked: str, first: int, last: int) -> None:
    answer = api.admin.get(blob, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == DATA[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(DATA)}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["docker-content-digest"] == Digest.of(DATA)


@pytest.mark.parametrize(
    "asked", ["bytes=10240-", "bytes=99999-100000", "bytes=-0", "bytes=500-0", f"bytes={'9' * 5000}-"]
)
def test_a_range_of_nothing_is_416(api: Api, blob: str, asked: str) -> None:
    answer = api.admin.get(blob, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"
    codes(answer)


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=a-b", "bytes=-", "lines=1-2", "bytes", "bytes=1-2-3", "bytes=+1-2"]
)
def test_several_ranges_and_what_is_no_range_are_ignored(api: Api, blob: str, asked: str) -> None:
    answer = api.admin.get(blob, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_if_range_of_another_content_gets_the_whole(api: Api, blob: str) -> None:
    same = api.admin.get(blob, headers={"Range": "bytes=0-9", "If-Range": f'"{Digest.of(DATA)}"'})
    other = api.admin.get(blob, headers={"Range": "bytes=0-9", "If-Range": '"sha256:0"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_head_ignores_ranges(api: Api, blob: str) -> None:
    answer = api.admin.head(blob, headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(DATA)))


@pytest.mark.parametrize("data", [b"", b"{}"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_odd_blobs_and_both_algorithms(api: Api, name: str, data: bytes, algorithm: str) -> None:
    digest = api.push_blob(name, data, algorithm)
    answer = api.admin.get(f"/v2/{name}/blobs/{digest}")
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["docker-content-digest"] == digest


def test_a_range_of_an_empty_blob_is_416(api: Api, name: str) -> None:
    digest = api.push_blob(name, b"")
    assert api.admin.get(f"/v2/{name}/blobs/{digest}", headers={"Range": "bytes=0-"}).status_code == 416


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_blob_is_404(api: Api, name: str, method: str) -> None:
    api.push_blob(name, b"something")
    answer = api.admin.request(method, f"/v2/{name}/blobs/{Digest.of(random_blob())}")
    assert answer.status_code == 404
    if method == "GET":
        assert codes(answer) == ["BLOB_UNKNOWN"]


@pytest.mark.parametrize("bad", ["latest", "sha256:abc", f"sha256:{'A' * 64}", f"md5:{'0' * 32}", f"sha512:{'0' * 64}"])
def test_a_malformed_digest_is_400(api: Api, name: str, bad: str) -> None:
    answer = api.admin.get(f"/v2/{name}/blobs/{bad}")
    assert answer.status_code == 400
    assert codes(answer) == ["DIGEST_INVALID"]


def test_a_blob_of_another_repository_is_as_unknown_as_none(api: Api, name: str, other_name: str) -> None:
    data = random_blob()
    digest = api.push_blob(other_name, data)
    api.push_blob(name, random_blob())
    held, absent = f"/v2/{name}/blobs/{digest}", f"/v2/{name}/blobs/{Digest.of(random_blob())}"
    for client, status in ((api.anybody, 401), (api.admin, 404)):
        for method in ("GET", "HEAD"):
            here, nowhere = client.request(method, held), client.request(method, absent)
            assert here.status_code == nowhere.status_code == status
            assert here.text.replace(digest, "") == nowhere.text.replace(absent.rpartition("/")[2], "")


def test_a_large_blob_comes_whole(api: Api, name: str) -> None:
    data = random_blob(9_000_001)
    digest = api.push_blob(name, data)
    assert api.admin.get(f"/v2/{name}/blobs/{digest}").content == data
    part = api.admin.get(f"/v2/{name}/blobs/{digest}", headers={"Range": "bytes=1000000-8999999"})
    assert part.content == data[1_000_000:9_000_000]


def test_a_client_that_goes_away_leaves_no_file_open(api: Api, name: str) -> None:
    digest = api.push_blob(name, random_blob(40_000_000))
    with httpx.stream("GET", f"{api.url}/v2/{name}/blobs/{digest}", trust_env=False) as answer:
        next(answer.iter_raw(1000))
    wait_until(lambda: not _open_files(digest), 10, "the blob is closed")


def test_a_blob_whose_file_is_lost_is_an_error_of_ours_without_our_paths(api: Api, name: str) -> None:
    digest = api.push_blob(name, random_blob())
    folder = blob_folder(api.catalog.settings.root)
    next(folder.rglob(digest.encoded)).unlink()
    answer = api.admin.get(f"/v2/{name}/blobs/{digest}")
    assert answer.status_code == 500
    assert codes(answer) == ["UNKNOWN"]
    assert str(folder) not in answer.text


def _open_files(digest: Digest) -> list[str]:
    from pathlib import Path

    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return [path for path in found if digest.encoded in path]


# --- blobs that the system sends by itself ---------------------------------------------------------------------


def _ask(api: Api, name: str, digest: Digest) -> bytes:
    return f"GET /v2/{name}/blobs/{digest} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n\r\n".encode()


def _read_answer(stream: IO[bytes]) -> bytes:
    status, length = stream.readline(), 0
    assert status.startswith(b"HTTP/1.1 200 ")
    while (line := stream.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return stream.read(length)


def test_a_client_that_reads_slowly_gets_it_all(api: Api, name: str) -> None:
    data = random_blob(3_900_000)
    digest = api.push_blob(name, data)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that the server must wait again and again
        sock.connect(("127.0.0.1", api.port))
        sock.sendall(_ask(api, name, digest))
        with sock.makefile("rb") as stream:
            assert _read_answer(stream) == data


def test_requests_that_come_at_once_are_answered_in_turn(api: Api, name: str) -> None:
    blobs = [random_blob(size) for size in (1_000_000, 0, 10, 2_000_000, 100_000)]
    digests = [api.push_blob(name, data) for data in blobs]
    with api.connection() as sock, sock.makefile("rb") as stream:
        sock.sendall(b"".join(_ask(api, name, digest) for digest in digests))
        for data in blobs:
            assert _read_answer(stream) == data


@pytest.mark.local_blobs("of the system's memory of files")
def test_a_blob_that_has_left_the_memory_comes_from_disk(api: Api, name: str) -> None:
    data = random_blob(3_000_000)
    digest = api.push_blob(name, data)
    for _ in range(2):
        (path,) = (api.catalog.settings.root / "blobs").rglob(digest.encoded)
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert api.admin.get(f"/v2/{name}/blobs/{digest}").content == data


@pytest.mark.local_blobs("a file is cut short under our hands")
def test_a_file_that_is_cut_short_while_it_is_sent_breaks_the_answer_off(api: Api, name: str) -> None:
    """Too late for another status: an answer that ends too early says it, and never one that looks complete."""
    data = random_blob(3_900_000)
    digest = api.push_blob(name, data)
    (path,) = (api.catalog.settings.root / "blobs").rglob(digest.encoded)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", api.port))
        sock.sendall(_ask(api, name, digest))
        received = sock.recv(1)
        os.truncate(path, 3_000_000)
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(65536):
                received += part
        assert received.startswith(b"HTTP/1.1 200 ")
        assert len(received) < 3_100_000
    path.write_bytes(data)


def test_a_blob_that_was_opened_before_and_lost_since_is_an_error(api: Api, name: str) -> None:
    data = random_blob()
    digest = api.push_blob(name, data)
    assert api.admin.get(f"/v2/{name}/blobs/{digest}").content == data
    (path,) = blob_folder(api.catalog.settings.root).rglob(digest.encoded)
    path.unlink()
    assert api.admin.get(f"/v2/{name}/blobs/{digest}").status_code == 500
