"""Slots for runs that need none, and a Prefect server in memory that keeps the requests it was sent."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from catalog.prefect.address import PrefectAddress
from catalog.settings import Settings
from flows.direct.api_client import ApiClient


class NoSlots:
    """Slots without a limit."""

    @asynccontextmanager
    async def hold(self, limit: str, patience: float) -> AsyncIterator[None]:
        yield

    async def describe(self, limit: str, registry: str) -> str:
        raise LookupError(limit)


class MemoryServer:
    """Answers as a Prefect server does. `answers` are those to come for a path; others are documents with an id."""

    def __init__(self) -> None:
        self.seen = list[tuple[str, str, Any]]()
        self.answers: dict[str, list[httpx.Response | Exception]] = {}
        self.on_request: Callable[[str], None] = lambda _path: None

    def client(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ApiClient:
        """A client of this server."""
        made = httpx.AsyncClient
        transport = httpx.MockTransport(self._answer)
        with monkeypatch.context() as patch:
            patch.setattr(httpx, "AsyncClient", lambda **given: made(**{**given, "transport": transport}))
            return ApiClient(settings, PrefectAddress("http://prefect.example/api"), {})

    def paths(self) -> list[str]:
        """The requests, as METHOD and path."""
        return [f"{method} {path}" for method, path, _body in self.seen]

    def bodies(self, path: str) -> list[Any]:
        """What was sent to a path."""
        return [body for _method, seen, body in self.seen if seen == path]

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api")
        self.seen.append((request.method, path, json.loads(request.content) if request.content else None))
        self.on_request(path)
        if waiting := self.answers.get(path):
            answer = waiting.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return httpx.Response(
            201, json={"id": str(UUID(int=len(self.seen))), "lease_id": "lease", "limits": [{"limit": 4}]}
        )
