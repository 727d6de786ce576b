"""Upload sessions: every shape of a push of a blob, out of order, broken off, cancelled, mounted."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oci.digest import Digest
from tests.api.conftest import Api, codes, random_blob, serve, serve_on
from tests.servers import wait_until

DATA = bytes(range(256)) * 100
ABSENT_SESSION = "0" * 32


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry whose sessions are files of one machine, and one whose sessions all replicas share."""
    with serve_on(request.param, request, tmp_path_factory.mktemp("registry") / "entrepot") as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def own_api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """As `api`, for one test."""
    with serve_on(request.param, request, tmp_path / "entrepot") as running:
        yield running


def _get(api: Api, name: str, digest: str) -> bytes:
    answer = api.admin.get(f"/v2/{name}/blobs/{digest}")
    assert answer.status_code == 200, answer.text
    return answer.content


def _assert_created(api: Api, name: str, answer: httpx.Response, data: bytes, algorithm: str = "sha256") -> None:
    digest = Digest.of(data, algorithm)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v2/{name}/blobs/{digest}"
    assert answer.headers["docker-content-digest"] == digest
    assert _get(api, name, digest) == data


# --- one request, two requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_post_with_digest_takes_the_whole_blob(api: Api, name: str, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, content=DATA)
    _assert_created(api, name, answer, DATA, algorithm)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_post_then_put(api: Api, name: str, algorithm: str) -> None:
    opened = api.admin.post(f"/v2/{name}/blobs/uploads/")
    assert opened.status_code == 202
    assert opened.headers["range"] == "0-0"
    assert opened.headers["content-length"] == "0"
    location = opened.headers["location"]
    assert location.startswith(f"/v2/{name}/blobs/uploads/")
    assert "?" not in location
    digest = Digest.of(DATA, algorithm)
    _assert_created(api, name, api.admin.put(location, params={"digest": digest}, content=DATA), DATA, algorithm)


def test_the_path_of_uploads_is_found_without_its_slash_too(api: Api, name: str) -> None:
    assert api.admin.post(f"/v2/{name}/blobs/uploads").status_code == 202


def test_parameters_may_come_in_any_order_with_others_between(api: Api, name: str) -> None:
    location = api.open_upload(name)
    answer = api.admin.put(f"{location}?x=1&digest={Digest.of(DATA)}&_state=abc", content=DATA)
    _assert_created(api, name, answer, DATA)


def test_a_chunked_body_of_unknown_length_is_taken(api: Api, name: str) -> None:
    def parts() -> Iterator[bytes]:
        for start in range(0, len(DATA), 1000):
            yield DATA[start : start + 1000]

    answer = api.admin.post(f"/v2/{name}/blobs/uploads/", params={"digest": Digest.of(DATA)}, content=parts())
    _assert_created(api, name, answer, DATA)


def test_a_large_stream_arrives_whole(api: Api, name: str) -> None:
    data = random_blob(5_300_001)
    location = api.open_upload(name)
    patched = api.admin.patch(location, content=data)
    assert (patched.status_code, patched.headers["range"]) == (202, f"0-{len(data) - 1}")
    _assert_created(api, name, api.admin.put(f"{location}?digest={Digest.of(data)}"), data)


# --- chunks ----------------------------------------------------------------------------------------------------


def _patch(api: Api, location: str, start: int, data: bytes) -> httpx.Response:
    return api.admin.patch(location, content=data, headers={"Content-Range": f"{start}-{start + len(data) - 1}"})


@pytest.mark.parametrize("last_in_put", [False, True])
def test_three_chunks(api: Api, name: str, last_in_put: bool) -> None:
    data = random_blob(3000)
    location = api.open_upload(name)
    for number in range(2 if last_in_put else 3):
        answer = _patch(api, location, number * 1000, data[number * 1000 : number * 1000 + 1000])
        assert answer.status_code == 202
        assert answer.headers["range"] == f"0-{number * 1000 + 999}"
        location = answer.headers["location"]
    closing = {"content": data[2000:], "headers": {"Content-Range": "2000-2999"}} if last_in_put else {}
    answer = api.admin.put(location, params={"digest": Digest.of(data)}, **closing)  # type: ignore[arg-type]
    _assert_created(api, name, answer, data)


@pytest.mark.parametrize("start", [0, 500, 1001, 5000])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_out_of_order_is_416_and_the_session_lives(api: Api, name: str, method: str, start: int) -> None:
    data = random_blob(2000)
    location = api.open_upload(name)
    _patch(api, location, 0, data[:1000])
    wrong = api.admin.request(
        method,
        f"{location}?digest={Digest.of(data)}",
        content=data[1000:],
        headers={"Content-Range": f"{start}-{start + 999}"},
    )
    assert (wrong.status_code, codes(wrong)) == (416, ["BLOB_UPLOAD_INVALID"])
    assert wrong.headers["range"] == "0-999"
    assert wrong.headers["location"] == location
    status = api.admin.get(location)
    assert (status.status_code, status.content, status.headers["range"]) == (204, b"", "0-999")
    assert status.headers["location"] == location
    assert _patch(api, location, 1000, data[1000:]).status_code == 202
    _assert_created(api, name, api.admin.put(f"{location}?digest={Digest.of(data)}"), data)


def test_the_status_of_an_empty_session_is_0_0(api: Api, name: str) -> None:
    status = api.admin.get(api.open_upload(name))
    assert (status.status_code, status.headers["range"]) == (204, "0-0")


@pytest.mark.parametrize("header", ["abc", "1-", "-5", "9-3", "0-1-2", ""])
def test_a_content_range_that_is_none_is_400(api: Api, name: str, header: str) -> None:
    location = api.open_upload(name)
    answer = api.admin.patch(location, content=b"0123456789", headers={"Content-Range": header})
    assert (answer.status_code, codes(answer)) == (400, ["BLOB_UPLOAD_INVALID"])
    assert api.admin.get(location).headers["range"] == "0-0"


@pytest.mark.parametrize("header", ["bytes 0-9/10", "bytes 0-9/*", "bytes=0-9", "0-9"])
def test_a_content_range_with_a_unit_is_understood(api: Api, name: str, header: str) -> None:
    location = api.open_upload(name)
    assert api.admin.patch(location, content=b"0123456789", headers={"Content-Range": header}).status_code == 202


@pytest.mark.parametrize("length", [5, 11])
def test_a_length_that_is_not_the_range_s_is_400_size_invalid(api: Api, name: str, length: int) -> None:
    location = api.open_upload(name)
    answer = api.admin.patch(location, content=b"x" * length, headers={"Content-Range": "0-9"})
    assert (answer.status_code, codes(answer)) == (400, ["SIZE_INVALID"])
    assert api.admin.get(location).headers["range"] == "0-0"


@pytest.mark.parametrize("length", [5, 11])
def test_a_chunked_body_that_is_not_the_range_s_length_is_400_size_invalid(api: Api, name: str, length: int) -> None:
    location = api.open_upload(name)
    answer = api.admin.patch(location, content=iter([b"x" * length]), headers={"Content-Range": "0-9"})
    assert (answer.status_code, codes(answer)) == (400, ["SIZE_INVALID"])


def test_a_patch_without_range_appends(api: Api, name: str) -> None:
    location = api.open_upload(name)
    api.admin.patch(location, content=b"one")
    answer = api.admin.patch(location, content=b"two")
    assert answer.headers["range"] == "0-5"
    _assert_created(api, name, api.admin.put(f"{location}?digest={Digest.of(b'onetwo')}"), b"onetwo")


# --- digests that are wrong ------------------------------------------------------------------------------------

BAD_DIGESTS = ["", "abc", f"sha256:{'0' * 63}", f"SHA256:{'0' * 64}", f"md5:{'0' * 32}", f"sha256:{'A' * 64}"]
OTHERS = [Digest.of(b"other"), Digest.of(b"other", "sha512")]


@pytest.mark.parametrize("digest", [*BAD_DIGESTS, *OTHERS])
def test_post_with_a_wrong_digest_is_400(api: Api, name: str, digest: str) -> None:
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, content=DATA)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_closing_with_a_malformed_digest_is_400_and_the_session_lives(api: Api, name: str, digest: str) -> None:
    location = api.open_upload(name)
    api.admin.patch(location, content=DATA)
    answer = api.admin.put(location, params={"digest": digest})
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    _assert_created(api, name, api.admin.put(location, params={"digest": Digest.of(DATA)}), DATA)


def test_closing_without_a_digest_is_400(api: Api, name: str) -> None:
    answer = api.admin.put(api.open_upload(name), content=DATA)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("digest", OTHERS)
@pytest.mark.parametrize("how", ["put", "patch", "chunk"])
def test_closing_with_another_digest_is_400_and_nothing_stays(api: Api, name: str, how: str, digest: Digest) -> None:
    data = random_blob()
    location = api.open_upload(name)
    if how == "patch":
        api.admin.patch(location, content=data)
    if how == "chunk":
        _patch(api, location, 0, data[:500])
        rest = {"content": data[500:], "headers": {"Content-Range": "500-999"}}
    else:
        rest = {"content": data} if how == "put" else {}
    answer = api.admin.put(location, params={"digest": digest}, **rest)  # type: ignore[arg-type]
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])
    for absent in (digest, Digest.of(data)):
        assert api.admin.head(f"/v2/{name}/blobs/{absent}").status_code == 404
    assert api.admin.get(location).status_code == 404


def test_a_bad_mount_digest_is_400(api: Api, name: str) -> None:
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/?mount=sha256:abc&from=other")
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


# --- sessions --------------------------------------------------------------------------------------------------


def test_a_cancelled_session_is_gone(api: Api, name: str) -> None:
    location = api.open_upload(name)
    api.admin.patch(location, content=DATA)
    deleted = api.admin.delete(location)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "DELETE", "PATCH", "PUT"):
        answer = api.admin.request(method, location, params={"digest": Digest.of(DATA)})
        assert (answer.status_code, codes(answer)) == (404, ["BLOB_UPLOAD_UNKNOWN"])


@pytest.mark.parametrize("session", [ABSENT_SESSION, "x", "..", "%2e%2e%2fetc", "a" * 500])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH", "PUT"])
def test_an_unknown_session_is_404(api: Api, name: str, method: str, session: str) -> None:
    answer = api.admin.request(method, f"/v2/{name}/blobs/uploads/{session}", params={"digest": Digest.of(DATA)})
    assert answer.status_code == 404
    assert codes(answer) in (["BLOB_UPLOAD_UNKNOWN"], ["UNSUPPORTED"])


def test_a_session_belongs_to_its_repository(api: Api, name: str, other_name: str) -> None:
    session = api.open_upload(name).rpartition("/")[2]
    assert api.admin.get(f"/v2/{other_name}/blobs/uploads/{session}").status_code == 404


def test_closing_twice_is_404_the_second_time(api: Api, name: str) -> None:
    location = api.open_upload(name)
    assert api.admin.put(f"{location}?digest={Digest.of(DATA)}", content=DATA).status_code == 201
    assert api.admin.put(f"{location}?digest={Digest.of(DATA)}", content=DATA).status_code == 404


def test_two_sessions_may_close_one_digest_at_once(api: Api, name: str) -> None:
    data = random_blob(200_000)
    locations = [api.open_upload(name) for _ in range(8)]
    for location in locations:
        api.admin.patch(location, content=data)
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda at: statuses.append(api.admin.put(f"{at}?digest={Digest.of(data)}").status_code), args=(at,)
        )
        for at in locations
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 8
    assert _get(api, name, Digest.of(data)) == data


def test_expect_100_continue_is_answered(api: Api, name: str) -> None:
    location = api.open_upload(name)
    with api.connection() as sock:
        sock.sendall(
            f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n"
            "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"hello")
        assert sock.recv(1000).startswith(b"HTTP/1.1 202 ")


# --- broken connections ----------------------------------------------------------------------------------------


def _send_part(api: Api, method: str, path: str, announced: int, data: bytes) -> None:
    """Send less than announced and hang up, once the server has had time to read it."""
    with api.connection() as sock:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\nContent-Length: {announced}\r\n\r\n"
        sock.sendall(head.encode() + data)
        wait_until(lambda: _staged(api) > 0 or len(data) < 1024 * 1024, 10, "the first bytes are written")


def _staged(api: Api) -> int:
    return sum(path.stat().st_size for path in api.catalog.uploads._store.staging.iterdir())


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_what_came_before_a_break_can_be_resumed(own_api: Api, name: str, method: str) -> None:
    api, data = own_api, random_blob(4_000_000)
    location = api.open_upload(name)
    _send_part(api, method, f"{location}?digest={Digest.of(data)}", len(data), data[:3_000_000])
    status = api.admin.get(location)
    assert status.status_code == 204
    kept = int(status.headers["range"].removeprefix("0-")) + 1
    assert 1_000_000 < kept <= 3_000_000
    assert _patch(api, location, kept, data[kept:]).status_code == 202
    _assert_created(api, name, api.admin.put(f"{location}?digest={Digest.of(data)}"), data)


def test_a_single_post_that_breaks_leaves_nothing(own_api: Api, name: str) -> None:
    api, data = own_api, random_blob(3_000_000)
    _send_part(api, "POST", f"/v2/{name}/blobs/uploads/?digest={Digest.of(data)}", len(data), data[:2_500_000])
    wait_until(lambda: not list(api.catalog.uploads._store.staging.iterdir()), 10, "the session is gone")
    assert api.admin.head(f"/v2/{name}/blobs/{Digest.of(data)}").status_code == 404


def test_a_manifest_that_breaks_off_changes_nothing(api: Api, name: str) -> None:
    _send_part(api, "PUT", f"/v2/{name}/manifests/v1", 1000, b"{")
    assert api.admin.get(f"/v2/{name}/tags/list").status_code == 404


def test_stalled_uploads_hold_nobody_up(api: Api, name: str) -> None:
    """Forty clients that stopped in mid-body; pulls and pushes of others go on at once."""
    data = random_blob()
    digest = api.push_blob(name, data)
    socks = []
    try:
        for _ in range(40):
            location = api.open_upload(name)
            context = api.connection()
            sock = context.__enter__()
            socks.append((context, sock))
            sock.sendall(
                f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n"
                "Content-Length: 1000000\r\n\r\n".encode()
                + b"x" * 1000
            )
        with api.client(auth=("admin", api.password)) as quick:
            for _ in range(20):
                answer = quick.get(f"/v2/{name}/blobs/{digest}")
                assert answer.content == data
                assert answer.elapsed.total_seconds() < 1
        api.push_blob(name, random_blob())
    finally:
        for context, _sock in socks:
            context.__exit__(None, None, None)


def test_a_session_in_use_is_told_apart_after_a_while(api: Api, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_api.v2.upload_stream._BUSY_TRIES", 2)
    location = api.open_upload(name)
    with api.catalog.uploads.resume(name, location.rpartition("/")[2]):
        answer = api.admin.get(location)
    assert (answer.status_code, codes(answer)) == (409, ["UNKNOWN"])
    assert api.admin.get(location).status_code == 204


def test_a_client_that_stops_sending_is_told_and_its_session_set_free(
    api: Api, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_api.http.bodies.PATIENCE", 0.2)
    location = api.open_upload(name)
    with api.connection() as sock:
        sock.sendall(
            f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.authorization}\r\n"
            "Content-Length: 100\r\n\r\n0123456789".encode()
        )
        received = b""
        while part := sock.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 408 ")
    assert api.admin.get(location).headers["range"] == "0-9"


# --- mounts ----------------------------------------------------------------------------------------------------


def test_a_mount_from_a_repository_that_has_it(api: Api, name: str, other_name: str) -> None:
    data = random_blob()
    digest = api.push_blob(other_name, data)
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/?mount={digest}&from={other_name}")
    _assert_created(api, name, answer, data)


def test_a_mount_without_from_takes_it_from_anywhere(api: Api, name: str, other_name: str) -> None:
    data = random_blob()
    digest = api.push_blob(other_name, data)
    _assert_created(api, name, api.admin.post(f"/v2/{name}/blobs/uploads/?mount={digest}"), data)


@pytest.mark.parametrize("source", ["&from=team/none", "&from=Bad/Name", "&from=", "", "&from=third/one"])
def test_what_cannot_be_mounted_opens_a_session(api: Api, name: str, source: str) -> None:
    api.push_blob("third/one", b"something else")
    data = random_blob()
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/?mount={Digest.of(data)}{source}")
    assert answer.status_code == 202
    closed = api.admin.put(answer.headers["location"], params={"digest": Digest.of(data)}, content=data)
    _assert_created(api, name, closed, data)


def test_a_blob_that_the_named_repository_lacks_is_not_mounted(api: Api, name: str, other_name: str) -> None:
    """Held by others is not enough: the right to read is asked of the repository named."""
    data = random_blob()
    digest = api.push_blob(other_name, data)
    api.push_blob("third/one", b"something else")
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/?mount={digest}&from=third/one")
    assert answer.status_code == 202
    assert api.admin.head(f"/v2/{name}/blobs/{digest}").status_code == 404


def test_a_digest_algorithm_is_checked_before_anything_is_sent(api: Api, name: str) -> None:
    for algorithm in ("sha256", "sha512"):
        answer = api.admin.post(f"/v2/{name}/blobs/uploads/", params={"digest-algorithm": algorithm})
        assert answer.status_code == 202
        data = random_blob()
        closed = api.admin.put(answer.headers["location"], params={"digest": Digest.of(data, algorithm)}, content=data)
        assert closed.status_code == 201
    answer = api.admin.post(f"/v2/{name}/blobs/uploads/", params={"digest-algorithm": "md5"})
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


def test_a_session_whose_body_is_still_arriving_is_nobody_elses(api: Api, name: str) -> None:
    data, location = random_blob(600_000), api.open_upload(name)
    head = [f"PATCH {location} HTTP/1.1", "Host: x", f"Authorization: {api.authorization}", "Content-Length: 700000"]
    with api.connection() as sock:
        sock.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + data)
        wait_until(lambda: api.admin.get(location).status_code == 409, 20, "the first request holds the session")
        assert api.admin.patch(location, content=b"other").status_code == 409
    wait_until(lambda: api.admin.get(location).status_code == 204, 20, "the first request has gone")
    held = int(api.admin.get(location).headers["range"].partition("-")[2]) + 1
    assert api.admin.patch(location, content=data[held:]).status_code == 202
    assert api.admin.put(location, params={"digest": Digest.of(data)}).status_code == 201


def test_a_blob_above_the_limit_is_refused_whichever_request_brings_it(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", max_blob_size=2 * 1024 * 1024) as api:
        data = random_blob(5 * 1024 * 1024)
        asked: dict[str, Any] = {"params": {"digest": Digest.of(data)}, "content": data}
        assert api.admin.post("/v2/team/app/blobs/uploads/", **asked).status_code == 413
        assert api.admin.put(api.open_upload("team/app"), **asked).status_code == 413
        assert api.admin.patch(api.open_upload("team/app"), content=data).status_code == 413
