"""A client as thin as one can be, so that what is measured is the server: raw requests over kept connections."""

import base64
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from benchmarks.content import MANIFEST, Image


@dataclass(frozen=True)
class Server:
    """A registry under load: its address, the name it has in the table, and a login, by a bearer token where there is one."""

    name: str
    port: int
    username: str = ""
    password: str = ""
    token: str = ""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What each request carries."""
        headers = {"Host": self.host, "User-Agent": "entrepot-bench"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        elif self.username:
            token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        return headers


@dataclass(frozen=True)
class Answer:
    """What came back; `headers` by lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Connection:
    """One kept HTTP/1.1 connection; requests go one after the other. Answers need a Content-Length or no body."""

    server: Server
    sock: socket.socket = field(init=False)
    rest: bytes = b""

    def __enter__(self) -> "Connection":
        self.sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def request(self, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request and read its answer whole."""
        self.sock.sendall(raw_request(self.server, method, path, headers=headers, length=len(body)) + body)
        return self._answer(method)

    def expect(
        self, status: int, method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """As `request`; AssertionError when the answer has another status."""
        answer = self.request(method, path, body, headers=headers)
        assert answer.status == status, f"{self.server.name}: {method} {path}: {answer.status} {answer.body[:300]!r}"
        return answer

    def _answer(self, method: str) -> Answer:
        data = self.rest
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        status_line, *lines = data[:end].decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        status = int(status_line.split(" ", 2)[1])
        bodiless = method == "HEAD" or status in {204, 304}
        length = 0 if bodiless else int(headers.get("content-length", "0"))
        parts, got = [data[end + 4 :]], len(data) - end - 4
        while got < length:
            parts.append(self._more())
            got += len(parts[-1])
        body = b"".join(parts)
        self.rest = body[length:]
        return Answer(status, headers, body[:length])

    def _more(self) -> bytes:
        data = self.sock.recv(1024 * 1024)
        assert data, f"{self.server.name} closed the connection"
        return data


def raw_request(
    server: Server, method: str, path: str, *, headers: Mapping[str, str] | None = None, length: int = 0
) -> bytes:
    """The head of a request, up to and with its empty line."""
    all_headers = {**server.headers, **(headers or {})}
    if length or method in {"POST", "PUT", "PATCH"}:
        all_headers["Content-Length"] = str(length)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def fetch_token(server: Server, scope: str) -> str:
    """A bearer token of the server's own token service."""
    with Connection(server) as connection:
        answer = connection.expect(200, "GET", f"/token?service=entrepot&scope={scope}")
    return str(json.loads(answer.body)["token"])


def push_blob(connection: Connection, repository: str, data: bytes, digest: str) -> None:
    """Push one blob as podman and skopeo do: ask, open a session, PATCH, close it by PUT."""
    if connection.request("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200:
        return
    opened = connection.expect(202, "POST", f"/v2/{repository}/blobs/uploads/")
    sent = connection.expect(
        202, "PATCH", location_of(opened), data, headers={"Content-Type": "application/octet-stream"}
    )
    location = location_of(sent)
    separator = "&" if "?" in location else "?"
    connection.expect(201, "PUT", f"{location}{separator}digest={digest}")


def push_image(connection: Connection, repository: str, image: Image) -> None:
    """Push blobs, then the tagged manifest."""
    for blob in image.blobs:
        push_blob(connection, repository, blob.data, blob.digest)
    connection.expect(
        201, "PUT", f"/v2/{repository}/manifests/{image.tag}", image.manifest, headers={"Content-Type": MANIFEST}
    )


def location_of(answer: Answer) -> str:
    """The path an answer sends to next."""
    location = answer.headers["location"]
    if "://" in location:
        return "/" + location.split("/", 3)[3]
    return location
