"""Header names go out as the specifications write them, byte for byte."""

import pytest

from registry_api.connections.heads import spelled
from tests.api.conftest import Api


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_names_are_spelled_on_the_wire(api: Api, method: str) -> None:
    head = (
        f"{method} /v2/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {api.authorization}\r\nConnection: close\r\n\r\n"
    )
    with api.connection() as sock:
        sock.sendall(head.encode())
        answer = b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")[0]
    assert b"\r\nX-Registry-Supports-Signatures: 1" in answer
    assert b"\r\nDocker-Distribution-API-Version: registry/2.0" in answer


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_names_of_errors_too(api: Api, method: str) -> None:
    with api.connection() as sock:
        sock.sendall(
            f"{method} /v2/no/such/manifests/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head = answer.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 401")
    assert b'\r\nWWW-Authenticate: Bearer realm="' in head


def test_values_stay_as_they_are() -> None:
    head = (
        b"HTTP/1.1 307 oci-tag: y\r\nlocation: http://a/?oci-tag:\r\noci-subject: sha256:ab\r\netag: oci-tag:\r\n\r\n"
    )
    assert spelled(head) == head.replace(b"oci-subject", b"OCI-Subject")
