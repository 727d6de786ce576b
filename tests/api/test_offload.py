"""Blobs that a proxy sends in our place: which requests are answered by a path, and which by bytes."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from catalog.blobs.local_store import name_of_digest
from oci.digest import Digest
from tests.api.conftest import Api, codes, serve

DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)
BLOB = f"/v2/team/app/blobs/{DIGEST}"
PATH = f"/in/blobs/{name_of_digest(DIGEST)}"
ASKS = {"X-Sendfile-Type": "X-Accel-Redirect"}


pytestmark = pytest.mark.local_blobs("a proxy sends the files")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry that trusts this machine's proxies to send blobs."""
    home = tmp_path_factory.mktemp("offload") / "entrepot"
    with serve(home, offload="x-accel:/in/blobs", trusted_proxies="127.0.0.1") as api:
        api.push_blob("team/app", DATA)
        yield api


def is_path(answer: httpx.Response) -> bool:
    """Whether an answer names the file, and has no bytes of it."""
    return answer.headers.get("x-accel-redirect") == PATH and not answer.content


def test_a_proxy_that_asks_gets_the_path_and_our_headers(behind: Api) -> None:
    whole, answer = behind.admin.get(BLOB), behind.admin.get(BLOB, headers=ASKS)
    assert (whole.status_code, whole.content) == (200, DATA)
    assert (answer.status_code, answer.headers["content-length"]) == (200, "0")
    assert is_path(answer)
    for name in ("content-type", "docker-content-digest", "etag", "docker-distribution-api-version"):
        assert answer.headers[name] == whole.headers[name]
    assert (behind.catalog.settings.root / "blobs" / name_of_digest(DIGEST)).read_bytes() == DATA


@pytest.mark.parametrize("span", ["bytes=0-9", "bytes=500-", "bytes=-5"])
def test_a_range_is_left_to_the_proxy(behind: Api, span: str) -> None:
    answer = behind.admin.get(BLOB, headers={**ASKS, "Range": span, "If-Range": '"x"'})
    assert answer.status_code == 200
    assert is_path(answer)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Sendfile-Type": "X-Sendfile"},
        {**ASKS, "Range": "BYTES = 0-9"},
        {**ASKS, "Range": "bytes=0-1,5-6"},
        {**ASKS, "Range": f"bytes=0-{'9' * 30}"},
        {**ASKS, "If-Match": '"x"'},
        {**ASKS, "If-Unmodified-Since": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
    ids=str,
)
def test_other_requests_get_bytes(behind: Api, headers: dict[str, str]) -> None:
    answer = behind.admin.get(BLOB, headers=headers)
    assert answer.status_code in (200, 206)
    assert answer.content == DATA[: len(answer.content)] or answer.status_code == 206
    assert answer.content
    assert "x-accel-redirect" not in answer.headers


def test_what_is_no_blob_here_is_answered_by_us(behind: Api) -> None:
    missing = behind.admin.get(f"/v2/team/app/blobs/{Digest.of(b'none')}", headers=ASKS)
    assert (missing.status_code, codes(missing)) == (404, ["BLOB_UNKNOWN"])
    elsewhere = behind.admin.get(BLOB.replace("team", "other"), headers=ASKS)
    assert elsewhere.status_code == 404
    refused = behind.anybody.get(BLOB, headers=ASKS)
    assert (refused.status_code, codes(refused)) == (401, ["UNAUTHORIZED"])
    nothing = behind.admin.get(BLOB, headers={**ASKS, "Range": "bytes=10240-"})
    assert (nothing.status_code, nothing.headers["content-range"]) == (416, "bytes */10240")
    same = behind.admin.get(BLOB, headers={**ASKS, "If-None-Match": f'"{DIGEST}"'})
    assert same.status_code == 304
    head = behind.admin.head(BLOB, headers=ASKS)
    assert (head.status_code, head.headers["content-length"]) == (200, "10240")
    assert not any("x-accel-redirect" in one.headers for one in (missing, elsewhere, refused, nothing, same, head))


def test_a_blob_whose_file_has_gone_is_an_error_of_ours(behind: Api) -> None:
    digest = behind.push_blob("team/app", b"goes away")
    file = behind.catalog.settings.root / "blobs" / name_of_digest(digest)
    assert behind.admin.get(f"/v2/team/app/blobs/{digest}", headers=ASKS).status_code == 200
    file.write_bytes(b"shorter")
    answer = behind.admin.get(f"/v2/team/app/blobs/{digest}", headers=ASKS)
    assert answer.status_code == 500
    assert "x-accel-redirect" not in answer.headers


@pytest.mark.parametrize(
    "changes", [{}, {"trusted_proxies": "127.0.0.1"}, {"trusted_proxies": "10.0.0.1", "offload": "x-accel:/in/blobs"}]
)
def test_whoever_is_not_trusted_to_send_files_gets_bytes(tmp_path: Path, changes: dict[str, str]) -> None:
    with serve(tmp_path / "entrepot", **changes) as api:
        api.push_blob("team/app", DATA)
        answer = api.admin.get(BLOB, headers={**ASKS, "X-Forwarded-For": "127.0.0.1"})
        assert (answer.status_code, answer.content) == (200, DATA)
        assert "x-accel-redirect" not in answer.headers
