"""The table of odd registries that are pushed to: each is named after its flaw, a fault of one that is sound otherwise."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from oci.digest import Digest
from tests.upstream import LoopbackServer

_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/(\w*)")
_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:\w+)")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")


@dataclass
class Asked:
    """One request with its whole body, or what of it has come when the answer was given."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass
class Told:
    """An answer; `early` gives it before the body is read to its end."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    early: bool = False


Change = Callable[["Taker", Asked, Told], Told | None]


class Taker:
    """A registry in memory that takes pushes; `changes` see each request with the good answer. `begin` may refuse one before its
    body is read, and before anything is done."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.sessions: dict[str, bytearray] = {}
        self.asked: list[Asked] = []
        self.begin: list[Callable[[Taker, Asked], Told | None]] = []
        self.changes: list[Change] = []
        self._server = LoopbackServer(self._app)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def count(self, method: str, part: str = "") -> int:
        """Requests so far."""
        return sum(one.method == method and part in one.path for one in self.asked)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = Asked(scope["method"], scope["path"], scope["query_string"].decode(), headers)
        self.asked.append(asked)
        told = next((found for one in self.begin if (found := one(self, asked))), None)
        if told is None or not told.early:
            body, more = bytearray(), True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            asked.body = bytes(body)
        if told is None:
            told = self._good(asked)
            for change in self.changes:
                told = change(self, asked, told) or told
        raw = [(name.encode(), value.encode()) for name, value in told.headers.items()]
        if "content-length" not in told.headers:
            raw.append((b"content-length", str(len(told.body)).encode()))
        await send({"type": "http.response.start", "status": told.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if asked.method == "HEAD" else told.body})

    def _good(self, asked: Asked) -> Told:
        if asked.path == "/v2/":
            return Told(200)
        for pattern, act in ((_UPLOAD, self._upload), (_BLOB, self._blob), (_MANIFEST, self._manifest)):
            if match := pattern.fullmatch(asked.path):
                return act(asked, match[2])
        return Told(404, body=b'{"errors":[{"code":"UNSUPPORTED","message":"not here"}]}')

    def _upload(self, asked: Asked, session: str) -> Told:
        if asked.method == "POST":
            session = f"s{len(self.asked)}"
            self.sessions[session] = bytearray()
            return Told(202, self._place(asked, session))
        if session not in self.sessions:
            return Told(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":""}]}')
        held = self.sessions[session]
        first = asked.headers.get("content-range", "").partition("-")[0]
        if asked.method in ("PATCH", "PUT") and first and int(first) != len(held):
            return Told(416)
        if asked.method == "DELETE":
            del self.sessions[session]
            return Told(204)
        held += asked.body
        if asked.method == "PUT":
            digest = asked.query.rpartition("digest=")[2].replace("%3A", ":")
            del self.sessions[session]
            if Digest.of(bytes(held)) != digest:
                return Told(400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"other bytes"}]}')
            self.blobs[digest] = bytes(held)
            return Told(201)
        status = 202 if asked.method == "PATCH" else 204
        return Told(status, self._place(asked, session) | {"range": f"0-{max(len(held) - 1, 0)}"})

    def _place(self, asked: Asked, session: str) -> dict[str, str]:
        base = asked.path.partition("/uploads/")[0]
        return {"location": f"{base}/uploads/{session}?_state={session}"}

    def _blob(self, asked: Asked, digest: str) -> Told:
        found = self.blobs.get(digest)
        return Told(404) if found is None else Told(200, {"content-length": str(len(found))}, found)

    def _manifest(self, asked: Asked, reference: str) -> Told:
        if asked.method == "PUT":
            digest = str(Digest.of(asked.body))
            self.manifests[digest] = (asked.headers["content-type"], asked.body)
            if ":" not in reference:
                self.tags[reference] = digest
            return Told(201, {"docker-content-digest": digest})
        digest = self.tags.get(reference, reference)
        if digest not in self.manifests:
            return Told(404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":""}]}')
        kind, raw = self.manifests[digest]
        headers = {"content-type": kind, "docker-content-digest": digest, "content-length": str(len(raw))}
        return Told(200, headers, raw)


@dataclass(frozen=True)
class Flaw:
    """One flaw; `notes` are what the push says of it, `lacks_referrer` that what refers to the image is not taken; `sent` is how
    often at most a large blob is sent."""

    make: Callable[[Taker], None]
    notes: tuple[str, ...] = ()
    lacks_referrer: bool = False
    sent: int = 1


def changes(change: Change) -> Callable[[Taker], None]:
    return lambda taker: taker.changes.append(change)


def begins(method: str, part: str, status: int, *, early: bool = False) -> Callable[[Taker], None]:
    """Refuse such requests."""

    def refuse(_taker: Taker, asked: Asked) -> Told | None:
        is_meant = asked.method == method and part in asked.path
        return (
            Told(status, body=b'{"errors":[{"code":"TESTED","message":"refused"}]}', early=early) if is_meant else None
        )

    return lambda taker: taker.begin.append(refuse)


def range_of(text: Callable[[Asked, int], str | None]) -> Callable[[Taker], None]:
    """Another Range in the answers to PATCH; the second argument is how many bytes are held."""

    def change(_taker: Taker, asked: Asked, told: Told) -> Told | None:
        if asked.method == "PATCH" and "range" in told.headers:
            found = text(asked, int(told.headers.pop("range").partition("-")[2]) + 1)
            if found is not None:
                told.headers["range"] = found
        return told

    return changes(change)


def with_location(text: Callable[[Taker, str], str]) -> Callable[[Taker], None]:
    def change(taker: Taker, _asked: Asked, told: Told) -> Told:
        if "location" in told.headers:
            told.headers["location"] = text(taker, told.headers["location"])
        return told

    return changes(change)


def tokens_end(method: str, part: str, status: int, *, early: bool = False) -> Callable[[Taker], None]:
    """A token is wanted; the one in use ends once, in the middle of the push, at such a request."""

    def make(taker: Taker) -> None:
        good, ended = ["t0"], list[str]()

        def check(_taker: Taker, asked: Asked) -> Told | None:
            if asked.path == "/token":
                return Told(200, body=json.dumps({"token": good[-1]}).encode())
            sent = asked.headers.get("authorization", "").removeprefix("Bearer ")
            challenge = {"www-authenticate": f'Bearer realm="http://{taker.host}/token",service="odd"'}
            if sent == good[-1] and not ended and asked.method == method and part in asked.path:
                ended.append(sent)
                good.append("t1")
                return Told(status, challenge if status == 401 else {}, b'{"errors":[]}', early=early)
            if sent != good[-1]:
                return Told(401, challenge, b'{"errors":[]}')
            return None

        taker.begin.append(check)

    return make


def forbids_artifacts(status: int) -> Callable[[Taker], None]:
    def refuse(taker: Taker, asked: Asked, told: Told) -> Told | None:
        if asked.method == "PUT" and "/manifests/" in asked.path and b'"artifactType"' in asked.body:
            taker.manifests.pop(str(Digest.of(asked.body)), None)
            return Told(status, body=b'{"errors":[{"code":"MANIFEST_INVALID","message":"images alone"}]}')
        return told

    return changes(refuse)


def breaks_once_and_lies(shift: int) -> Callable[[Taker], None]:
    """The first PATCH fails when half has come; then the session is said to hold more or less than it does."""

    def make(taker: Taker) -> None:
        broken: list[str] = []

        def change(taker: Taker, asked: Asked, told: Told) -> Told | None:
            if asked.method == "PATCH" and not broken:
                session = asked.path.rpartition("/")[2]
                broken.append(session)
                del taker.sessions[session][len(asked.body) // 2 :]
                return Told(502)
            if asked.method == "GET" and "/uploads/" in asked.path and told.status == 204:
                held = int(told.headers["range"].partition("-")[2])
                told.headers["range"] = f"0-{held + shift}"
            return told

        taker.changes.append(change)

    return make


NO_USABLE = ("no usable list of referrers",)

TAKING: Mapping[str, Flaw] = {
    "nothing-odd": Flaw(lambda _taker: None),
    "range-that-is-one-too-much": Flaw(range_of(lambda _asked, held: f"0-{held}")),
    "range-that-is-one-too-little": Flaw(range_of(lambda _asked, held: f"0-{held - 2}")),
    "range-of-the-chunk": Flaw(range_of(lambda asked, _held: f"0-{len(asked.body) // 3}")),
    "range-with-a-unit": Flaw(range_of(lambda _asked, held: f"bytes=0-{held - 1}")),
    "range-that-is-not-there": Flaw(range_of(lambda _asked, _held: None)),
    "session-that-says-one-more": Flaw(breaks_once_and_lies(1), sent=3),
    "session-that-says-one-less": Flaw(breaks_once_and_lies(-1), sent=3),
    **{f"patch-answered-{status}": Flaw(begins("PATCH", "", status), sent=2) for status in (400, 404, 405, 501)},
    **{
        f"patch-refused-at-once-with-{status}": Flaw(begins("PATCH", "", status, early=True), sent=2)
        for status in (405,)
    },
    **{
        f"head-of-blobs-answered-{status}": Flaw(begins("HEAD", "/blobs/", status))
        for status in (400, 403, 405, 500, 501)
    },
    "location-with-a-fragment": Flaw(with_location(lambda _taker, place: f"{place}#here")),
    "location-without-a-query": Flaw(with_location(lambda _taker, place: place.partition("?")[0])),
    "location-that-is-whole": Flaw(with_location(lambda taker, place: f"http://{taker.host}{place}")),
    "token-that-ends-in-a-large-blob": Flaw(tokens_end("PATCH", "/uploads/", 401), sent=2),
    "token-that-ends-before-a-large-blob": Flaw(tokens_end("PATCH", "/uploads/", 401, early=True), sent=2),
    "token-that-ends-when-an-upload-is-closed": Flaw(tokens_end("PUT", "/uploads/", 401), sent=2),
    "token-that-ends-with-400-at-a-manifest": Flaw(tokens_end("PUT", "/manifests/", 400)),
    "token-that-ends-at-a-tag": Flaw(tokens_end("PUT", "/manifests/v1", 401)),
    **{
        f"referrers-answered-{status}": Flaw(begins("GET", "/referrers/", status))
        for status in (400, 403, 404, 405, 501)
    },
    "fallback-tags-answered-403": Flaw(begins("GET", "/manifests/sha256-", 403)),
    **{
        f"artifacts-answered-{status}": Flaw(
            forbids_artifacts(status), notes=("does not accept what refers to images",), lacks_referrer=True
        )
        for status in (400, 405, 415)
    },
}
