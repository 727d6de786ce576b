"""Memory does not grow with the size of a blob, on its way in or out."""

import hashlib
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import EntrepotFactory

SIZE = 1024 * 1024 * 1024
PIECE = bytes(range(256)) * 4096
ALLOWED = 50 * 1024 * 1024


def _content() -> Iterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


@pytest.mark.slow
def test_a_gigabyte_goes_in_and_out_in_a_few_megabytes(entrepot_server: EntrepotFactory) -> None:
    server = entrepot_server()
    hasher = hashlib.sha256()
    for piece in _content():
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False, timeout=120) as client:
        small = hashlib.sha256(b"small").hexdigest()
        client.post("/v2/team/app/blobs/uploads/", params={"digest": f"sha256:{small}"}, content=b"small")
        before = server.child.peak_memory()
        location = client.post("/v2/team/app/blobs/uploads/").headers["location"]
        assert client.patch(location, content=_content()).headers["range"] == f"0-{SIZE - 1}"
        assert client.put(location, params={"digest": digest}).status_code == 201
        with client.stream("GET", f"/v2/team/app/blobs/{digest}") as answer:
            assert sum(len(part) for part in answer.iter_raw()) == SIZE
    assert server.child.peak_memory() - before < ALLOWED
