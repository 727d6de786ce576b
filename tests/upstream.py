"""A fault-injecting upstream: a real HTTP server that serves a MemoryStore, counts its requests and fails on demand.

It is for counting calls and injecting faults; that real registries work is shown with real registries.
"""

import asyncio
import base64
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import uvicorn

from oci.digest import Digest
from oci.memory import MemoryStore

Route = Literal["base", "tags", "manifest", "blob", "referrers", "token", "other"]
_ROUTES: tuple[tuple[Route, re.Pattern[str]], ...] = (
    ("base", re.compile(r"/v2/?")),
    ("tags", re.compile(r"/v2/(?P<name>.+)/tags/list")),
    ("manifest", re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")),
    ("blob", re.compile(r"/v2/(?P<name>.+)/blobs/(?P<reference>[^/]+)")),
    ("referrers", re.compile(r"/v2/(?P<name>.+)/referrers/(?P<reference>[^/]+)")),
    ("token", re.compile(r"/token")),
)


@dataclass(slots=True)
class Seen:
    """One request as it came."""

    method: str
    route: Route
    path: str
    query: str
    headers: Mapping[str, str]
    name: str = ""
    reference: str = ""
    port: int = 0
    """That of the client: another one for each connection."""


@dataclass(slots=True)
class Reply:
    """What is answered; with `cut`, the connection breaks after so many bytes of the body; `wait` seconds come first.

    With `held`, the answer waits for as long as it returns True; others go on.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    wait: float = 0.0
    held: Callable[[], bool] = lambda: False


Fault = Callable[[Seen, Reply], Reply | None]


class Upstream:
    """Serves `repositories` by name; a context manager. `faults` see each request with the good reply and may change it."""

    def __init__(self, repositories: Mapping[str, MemoryStore], *, page: int = 1000, **tls: Any) -> None:
        """`tls` are uvicorn's options `ssl_…`."""
        self.repositories, self._page = dict(repositories), page
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.login: tuple[str, str] | None = None
        self.bearer = False
        self.token_for_anybody = False
        self.has_referrers = False
        self.token_lifetime = 60
        self.most_at_once = 0
        self._tokens: dict[str, float] = {}
        self._server = _Server(self._answer, tls, self._note_busy)

    @property
    def host(self) -> str:
        """127.0.0.1:PORT."""
        return f"127.0.0.1:{self._server.port}"

    def _note_busy(self, count: int) -> None:
        self.most_at_once = max(self.most_at_once, count)

    @property
    def counts(self) -> Counter[tuple[str, Route]]:
        """Requests so far by (method, route)."""
        return Counter((seen.method, seen.route) for seen in self.seen)

    def close_connections(self) -> None:
        """Close all connections that are open, as a server does with those that nobody has used for a while."""
        self._server.close_connections()

    def forget(self) -> None:
        """Count anew."""
        self.seen.clear()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    # --- faults ---

    def fail(
        self, status: int, *, route: Route | None = None, times: int | None = None, only: str = "", **headers: str
    ) -> None:
        """Answer requests of a route (whose path has `only` in it) with a status, the first `times` of them."""
        left = [times]

        def fault(seen: Seen, _good: Reply) -> Reply | None:
            if (route and seen.route != route) or only not in seen.path or left[0] == 0:
                return None
            if left[0] is not None:
                left[0] -= 1
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return Reply(status, b'{"errors":[{"code":"TESTED","message":"a fault of the test"}]}', named)

        self.faults.append(fault)

    def cut(self, reference: str, *, after: int, times: int = 1) -> None:
        """Break the connection after so many bytes of a blob or manifest, the first `times`."""
        left = [times]

        def fault(seen: Seen, good: Reply) -> Reply | None:
            if seen.reference != reference or seen.method != "GET" or left[0] == 0:
                return None
            left[0] -= 1
            good.cut = after
            return good

        self.faults.append(fault)

    def replace(self, reference: str, body: bytes) -> None:
        """Send other bytes for a blob or manifest, by whatever name it is asked for."""

        def fault(seen: Seen, good: Reply) -> Reply | None:
            if reference not in (seen.reference, good.headers.get("docker-content-digest")):
                return None
            good.body = body
            good.headers["content-length"] = str(len(body))
            return good

        self.faults.append(fault)

    def silence(self, *, route: Route, seconds: float, only: str = "") -> None:
        """Wait before each answer of a route."""

        def fault(seen: Seen, good: Reply) -> Reply | None:
            if seen.route != route or only not in seen.path:
                return None
            good.wait = seconds
            return good

        self.faults.append(fault)

    def move(self, repository: str, tag: str, digest: Digest, *, forget_old: bool = False) -> None:
        """Let a tag point to another manifest as soon as its HEAD has been answered once."""
        store = self.repositories[repository]
        done: list[bool] = []

        def fault(seen: Seen, good: Reply) -> Reply | None:
            if seen.method == "HEAD" and seen.reference == tag and not done:
                done.append(True)
                old = store.tagged[tag]
                store.tagged[tag] = digest
                if forget_old:
                    del store.manifests[old]
                return good
            return None

        self.faults.append(fault)

    def redirect(self, route: Route, target: str) -> None:
        """Send clients of a route to the same path on another host."""

        def fault(seen: Seen, _good: Reply) -> Reply | None:
            return Reply(307, b"", {"location": f"{target}{seen.path}"}) if seen.route == route else None

        self.faults.append(fault)

    # --- answers ---

    def _answer(self, method: str, path: str, query: str, headers: Mapping[str, str], port: int) -> Reply:
        seen = _seen(method, path, query, headers)
        seen.port = port
        self.seen.append(seen)
        reply = self._good(seen)
        for fault in self.faults:
            changed = fault(seen, reply)
            if changed is not None:
                return changed
        return reply

    def _good(self, seen: Seen) -> Reply:
        refused = self._check_login(seen)
        if refused is not None:
            return refused
        if seen.route == "token":
            return self._token()
        if seen.route == "base":
            return Reply(200, b"{}")
        store = self.repositories.get(seen.name)
        if store is None:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        if seen.route == "tags":
            return self._tags(seen, store)
        if seen.route == "manifest":
            return _manifest(seen, store)
        if seen.route == "blob":
            return _blob(seen, store)
        if seen.route == "referrers" and self.has_referrers:
            return _referrers(seen, store)
        return _error(404, "UNSUPPORTED", "not served here")

    def _check_login(self, seen: Seen) -> Reply | None:
        if self.login is None:
            return None
        sent = seen.headers.get("authorization", "")
        basic = "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        if seen.route == "token":
            return None if sent == basic or self.token_for_anybody else _error(401, "UNAUTHORIZED", "wrong login")
        if not self.bearer:
            ok = sent == basic
            challenge = 'Basic realm="upstream"'
        else:
            ok = self._tokens.get(sent.removeprefix("Bearer "), 0.0) > time.monotonic()
            scope = f',scope="repository:{seen.name}:pull"' if seen.name else ""
            challenge = f'Bearer realm="http://{self.host}/token",service="upstream"{scope}'
        if ok:
            return None
        reply = _error(401, "UNAUTHORIZED", "authentication required")
        reply.headers["www-authenticate"] = challenge
        return reply

    def _token(self) -> Reply:
        token = f"token-{len(self._tokens)}"
        self._tokens[token] = time.monotonic() + self.token_lifetime
        return _json(200, f'{{"token":"{token}","expires_in":{self.token_lifetime}}}'.encode())

    def _tags(self, seen: Seen, store: MemoryStore) -> Reply:
        last = re.search(r"last=([^&]+)", seen.query)
        tags = sorted(tag for tag in store.tagged if not last or tag > last[1])
        page = tags[: self._page]
        listed = ",".join(f'"{tag}"' for tag in page)
        reply = _json(200, f'{{"name":"{seen.name}","tags":[{listed}]}}'.encode())
        if len(tags) > len(page):
            reply.headers["link"] = f'</v2/{seen.name}/tags/list?last={page[-1]}&n={self._page}>; rel="next"'
        return reply


def _seen(method: str, path: str, query: str, headers: Mapping[str, str]) -> Seen:
    for route, pattern in _ROUTES:
        if match := pattern.fullmatch(path):
            parts = match.groupdict()
            return Seen(method, route, path, query, headers, parts.get("name", ""), parts.get("reference", ""))
    return Seen(method, "other", path, query, headers)


def _manifest(seen: Seen, store: MemoryStore) -> Reply:
    digest = store.tagged.get(seen.reference, seen.reference)
    manifest = store.manifests.get(Digest(digest))
    if manifest is None:
        return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    headers = {"content-type": manifest.media_type, "docker-content-digest": digest}
    return Reply(200, manifest.raw, {**headers, "content-length": str(manifest.size)})


def _referrers(seen: Seen, store: MemoryStore) -> Reply:
    found = [one for one in store.manifests.values() if one.subject and one.subject.digest == seen.reference]
    entries = [
        {"mediaType": one.media_type, "digest": one.digest, "size": one.size, "artifactType": one.artifact_type}
        for one in found
    ]
    return _json(200, json.dumps({"schemaVersion": 2, "manifests": entries}).encode())


def _blob(seen: Seen, store: MemoryStore) -> Reply:
    data = store.blobs.get(Digest(seen.reference))
    if data is None:
        return _error(404, "BLOB_UNKNOWN", "blob unknown")
    asked = re.fullmatch(r"bytes=(\d+)-", seen.headers.get("range", ""))
    if asked and int(asked[1]) < len(data):
        part = data[int(asked[1]) :]
        span = f"bytes {asked[1]}-{len(data) - 1}/{len(data)}"
        return Reply(206, part, {"content-length": str(len(part)), "content-range": span})
    return Reply(200, data, {"content-length": str(len(data))})


def _json(status: int, body: bytes) -> Reply:
    return Reply(status, body, {"content-type": "application/json", "content-length": str(len(body))})


def _error(status: int, code: str, message: str) -> Reply:
    return _json(status, f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'.encode())


class LoopbackServer:
    """uvicorn on a thread and a free port, serving an ASGI application."""

    def __init__(self, app: Any, tls: Mapping[str, Any] | None = None) -> None:
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="critical",
            lifespan="off",
            ws="none",
            interface="asgi3",
            **(tls or {}),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)

    def close_connections(self) -> None:
        for connection in list(self._server.server_state.connections):
            self._server.servers[0].get_loop().call_soon_threadsafe(connection.transport.close)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)


class _Server(LoopbackServer):
    """Answers from a function."""

    def __init__(
        self,
        answer: Callable[[str, str, str, Mapping[str, str], int], Reply],
        tls: Mapping[str, Any],
        note_busy: Callable[[int], None],
    ) -> None:
        self._answer, self._note_busy, self._busy = answer, note_busy, 0
        super().__init__(self._app, tls)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self._busy += 1
        self._note_busy(self._busy)
        try:
            await self._answer_one(scope, receive, send)
        finally:
            self._busy -= 1

    async def _answer_one(self, scope: Any, _receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query, port = scope["query_string"].decode(), scope["client"][1]
        reply = self._answer(scope["method"], scope["path"], query, headers, port)
        if reply.wait:
            await asyncio.sleep(reply.wait)
        while reply.held():  # noqa: ASYNC110  # what it waits for is in another thread
            await asyncio.sleep(0.01)
        if "content-length" not in reply.headers:
            reply.headers["content-length"] = str(len(reply.body))
        raw = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        body = b"" if scope["method"] == "HEAD" else reply.body
        if reply.cut is not None:
            await send({"type": "http.response.body", "body": body[: reply.cut], "more_body": True})
            return  # uvicorn closes a connection whose answer is not complete
        await send({"type": "http.response.body", "body": body})


@contextmanager
def upstream_of(**stores: MemoryStore) -> Iterator[Upstream]:
    """An upstream with one repository `team/NAME` for each keyword."""
    with Upstream({f"team/{name}": store for name, store in stores.items()}) as upstream:
        yield upstream
