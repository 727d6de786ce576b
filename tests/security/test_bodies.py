"""Nobody's bodies are refused before they are read: on every route there is, with a length announced or without."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import open_catalog
from catalog.settings import read_settings
from registry_api.app import Application, create_app
from registry_api.dispatch.routes import ROUTES
from registry_api.management.dependencies import LARGEST_BODY
from tests.api.conftest import Api, serve
from tests.homes import new_home

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PART = b"[" * 16_384
ENDLESS = 500 * 1024 * 1024


class Endless:
    """A client that sends for ever, and counts what is taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def receive(self) -> Message:
        assert self.taken < ENDLESS, "the whole body is read"
        self.taken += len(PART)
        return {"type": "http.request", "body": PART, "more_body": True}


@contextmanager
def opened(home: Path) -> Iterator[Application]:
    with open_catalog(read_settings(home=new_home(home, administrator=True))) as catalog:
        yield create_app(catalog)


async def _status(app: Application, method: str, path: str, receive: Receive, *headers: tuple[bytes, bytes]) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("192.0.2.1", 4000),
        "server": ("127.0.0.1", 5080), "headers": [(b"host", b"127.0.0.1:5080"), *headers],
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


def _routes(routes: Iterable[Any]) -> Iterator[Any]:
    """The routes of routers, however deep."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        yield from _routes(inner.routes) if inner is not None else (route,)


FORMS = "/token", "/login", "/logout"
"""Where anybody may send a form: to log in, or to end a session."""


def _paths(app: Application) -> list[tuple[str, str]]:
    """Every method of every route: FastAPI's, and those of the distribution protocol."""
    found = []
    for route in _routes(app.management.routes):
        if isinstance(route, APIRoute):
            path = route.path.replace(":path}", "}")
            for place in route.param_convertors:
                path = path.replace(f"{{{place}}}", "1" if place in {"number", "version"} else "some")
            found += [(method, path) for method in route.methods or ()]
    for pattern, methods in ROUTES.items():
        path = (
            pattern.format(name="some/app", reference="v1", digest=f"sha256:{'0' * 64}", session="some", number=1)
            if ("{" in pattern)
            else pattern
        )
        found += [(method, path) for method in methods]
    return found


@pytest.mark.parametrize("announced", [True, False])
def test_nobodys_bodies_are_not_read(tmp_path: Path, *, announced: bool) -> None:
    headers = [(b"content-type", b"application/json")]
    headers += [(b"content-length", b"%d" % ENDLESS)] if announced else [(b"transfer-encoding", b"chunked")]
    with opened(tmp_path / "entrepot") as app:
        paths = _paths(app)
        assert len(paths) > 60
        assert ("POST", "/api/v1/query") in paths
        taken: dict[tuple[str, str], tuple[int, int]] = {}
        for method, path in paths:
            client = Endless()
            status = asyncio.run(_status(app, method, path, client.receive, *headers))
            taken[method, path] = (status, client.taken)
    with_body = {place: found for place, found in taken.items() if place[0] in {"POST", "PUT", "PATCH", "DELETE"}}
    for form in FORMS:
        status, count = with_body.pop(("POST", form))
        assert status == 413
        assert count <= 64 * 1024 + 2 * len(PART)
    assert {place: found for place, found in with_body.items() if found[0] < 400} == {}
    read = {place: found for place, found in taken.items() if found[1] > 0}
    assert read.keys() <= {("POST", form) for form in FORMS}


@pytest.mark.parametrize("secret", [b"Bearer wrong", b"Basic bm9ib2R5Om5vdGhpbmc="])
def test_wrong_logins_have_no_body_read(tmp_path: Path, secret: bytes) -> None:
    with opened(tmp_path / "entrepot") as app:
        for method, path in (
            ("POST", "/api/v1/query"),
            ("PUT", "/v2/some/app/manifests/v1"),
            ("POST", "/api/v1/users"),
        ):
            client = Endless()
            assert asyncio.run(_status(app, method, path, client.receive, (b"authorization", secret))) == 401
            assert client.taken == 0, path


def test_signed_bodies_of_hooks_are_bounded(tmp_path: Path) -> None:
    with opened(tmp_path / "entrepot") as app:
        client = Endless()
        signature = (b"x-hub-signature-256", b"sha256=" + b"0" * 64)
        assert asyncio.run(_status(app, "POST", "/api/v1/hooks/none", client.receive, signature)) == 413
        assert client.taken <= 4 * 1024 * 1024 + 2 * len(PART)


def test_administrators_bodies_are_bounded(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        for path in ("/api/v1/query", "/api/v1/users", "/api/v1/hooks"):
            answer = api.admin.post(path, content=b" " * (LARGEST_BODY + 1))
            assert answer.status_code == 413, answer.text
            chunked = api.admin.post(path, content=iter([b" " * LARGEST_BODY, b" "]))
            assert chunked.status_code == 413, chunked.text
            nested = api.admin.post(path, content=b"[" * LARGEST_BODY, headers={"Content-Type": "application/json"})
            assert nested.status_code == 400, nested.text
        assert api.admin.post("/api/v1/query", json={"sql": "SELECT 1 AS one"}).json() == [{"one": 1}]


def test_a_rule_for_anybody_lets_nobody_send(tmp_path: Path) -> None:
    """Where the rules let everybody push, a change by an anonymous caller works, within the limit."""
    with serve(tmp_path / "entrepot") as api:
        _allow_anyone(api)
        answer = api.anybody.post("/api/v1/restore/open/app", json={"version": 0})
        assert answer.status_code == 404, answer.text
        assert api.anybody.post("/api/v1/restore/open/app", content=b" " * (LARGEST_BODY + 1)).status_code == 413


def _allow_anyone(api: Api) -> None:

    store = AccessStore(api.catalog.settings, api.catalog.state)
    desk = Administration(store, api.catalog.events, actor="test", now=lambda: NOW)
    desk.add_rule(["anyone"], parse_grant("push,delete:open/**"))


def test_a_connection_ends_whose_body_nobody_wants(tmp_path: Path) -> None:
    """The answer is read, and little more than the system's own buffers is sent until the connection ends."""
    with serve(tmp_path / "entrepot") as api, api.connection() as sock:
        sock.sendall(
            b"POST /api/v1/query HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\n\r\n"
        )
        answer = sock.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 401")
        sent = 0
        piece = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
        with suppress(OSError):  # reset or broken pipe, as the system has it
            while sent < ENDLESS:
                sock.sendall(piece)
                sent += len(piece)
        assert sent < 64 * 1024 * 1024
