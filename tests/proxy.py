"""A proxy before a real registry that takes pushes: it counts what passes and breaks off where a test wants it."""

import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.upstream import LoopbackServer

_HOP = {"connection", "transfer-encoding", "keep-alive"}


class _CutError(Exception):
    """The body ends here."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One request that came through: `sent` are the bytes of its body."""

    method: str
    path: str
    query: str
    status: int
    sent: int


class Proxy:
    """Stands before a registry, by its URL, or before several, each of which gets the next request; a context manager."""

    def __init__(self, *urls: str) -> None:
        self._urls = itertools.cycle(urls)
        self.seen: list[Passed] = []
        self.refusals: list[tuple[str, str, int]] = []
        """(method, part of the path, status): requests that are answered so, without reaching the registry."""
        self.cuts: list[tuple[str, int]] = []
        """(method, bytes): the next request of that method is broken off after so many bytes of its body."""
        self.reached = threading.Event()
        """Set once a request was cut."""
        self._watch: tuple[int, Callable[..., object], tuple[object, ...]] | None = None
        self._client: httpx.AsyncClient | None = None
        self._server = LoopbackServer(self._app)

    @property
    def host(self) -> str:
        """127.0.0.1:PORT."""
        return f"127.0.0.1:{self._server.port}"

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Requests by method and what they are about: blob, upload, manifest, tags, referrers, other."""
        return Counter((one.method, _kind(one.path)) for one in self.seen)

    def closed(self) -> list[str]:
        """The digests of the uploads that were closed well, as often as they were."""
        closing = [
            one for one in self.seen if one.method == "PUT" and _kind(one.path) == "upload" and one.status == 201
        ]
        return [one.query.rpartition("digest=")[2].replace("%3A", ":") for one in closing]

    def after_closed(self, count: int, call: Callable[..., object], *arguments: object) -> None:
        """Call once so many uploads were closed."""
        self._watch = (count, call, arguments)

    def uploaded(self) -> int:
        """Bytes of blobs that were sent."""
        return sum(one.sent for one in self.seen if _kind(one.path) == "upload")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode()
        refused = next((status for one, part, status in self.refusals if one == method and part in path), None)
        if refused is not None:
            self.seen.append(Passed(method, path, query, refused, 0))
            await _answer(send, refused, [], b'{"errors":[{"code":"DENIED","message":"a fault of the test"}]}')
            return
        cut = next((one for one in self.cuts if one[0] == method), None)
        if cut is not None:
            self.cuts.remove(cut)
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            more = True
            while more:
                message = await receive()
                more, chunk = message.get("more_body", False), message.get("body", b"")
                if cut and sent + len(chunk) > cut[1]:
                    chunk = chunk[: cut[1] - sent]
                    sent = cut[1]
                    yield chunk
                    raise _CutError
                sent += len(chunk)
                yield chunk

        headers = [(name, value) for name, value in scope["headers"] if name.decode() not in _HOP]
        url = f"{next(self._urls)}{scope['raw_path'].decode()}{'?' + query if query else ''}"
        content = body() if method in ("POST", "PUT", "PATCH") else None
        self._client = client = self._client or httpx.AsyncClient(
            trust_env=False, timeout=60, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        try:
            response = await client.send(client.build_request(method, url, headers=headers, content=content))
        except _CutError:
            self.seen.append(Passed(method, path, query, 502, sent))
            self.reached.set()
            await _answer(send, 502, [], b"")
            return
        self.seen.append(Passed(method, path, query, response.status_code, sent))
        if self._watch and len(self.closed()) >= self._watch[0]:
            self._watch[1](*self._watch[2])
            self._watch = None
        kept = [(name, value) for name, value in response.headers.raw if name.decode().lower() not in _HOP]
        await _answer(send, response.status_code, kept, b"" if method == "HEAD" else response.content)


def _kind(path: str) -> str:
    for part, kind in (("/blobs/uploads/", "upload"), ("/blobs/", "blob"), ("/manifests/", "manifest")):
        if part in path:
            return kind
    return "tags" if path.endswith("/tags/list") else "referrers" if "/referrers/" in path else "other"


async def _answer(send: Any, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    if not any(name.lower() == b"content-length" for name, _value in headers):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
