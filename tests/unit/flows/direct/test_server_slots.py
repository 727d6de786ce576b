"""A slot of a limit that a server counts: made where it is missing, waited for, kept, and given back."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog.settings import Settings, read_settings
from flows.direct import server_slots
from flows.direct.api_client import PrefectLost
from flows.direct.server_slots import ServerSlots
from flows.engine.current import DirectRun, within_run
from flows.engine.slots import SlotTimeout
from tests.unit.flows.direct.runs import MemoryServer, NoSlots

LIMIT = "upstream-registry.example"
ASK, GIVE_BACK = "/v2/concurrency_limits/increment-with-lease", "/v2/concurrency_limits/decrement-with-lease"
RENEW = "/v2/concurrency_limits/leases/lease/renew"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path, prefect_timeout=0.1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> MemoryServer:
    monkeypatch.setattr(server_slots, "ASK_AGAIN", 0.02)
    return MemoryServer()


def hold(
    server: MemoryServer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    patience: float = 5.0,
    work: Callable[[], Coroutine[Any, Any, object]] | None = None,
) -> None:
    async def whole() -> None:
        async with server.client(settings, monkeypatch) as client:
            with within_run(DirectRun(NoSlots())):
                async with ServerSlots(client, "a-run").hold(LIMIT, patience):
                    await (work or (lambda: asyncio.sleep(0)))()

    asyncio.run(whole())


def taken(seconds: str = "0") -> httpx.Response:
    return httpx.Response(423, headers={"Retry-After": seconds}, text="locked")


def test_a_free_slot_is_two_requests(server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(server, settings, monkeypatch)
    assert [path for _method, path, _body in server.seen] == [ASK, GIVE_BACK]
    assert server.bodies(ASK)[0]["holder"] == {"type": "flow_run", "id": "a-run"}
    assert server.bodies(GIVE_BACK) == [{"lease_id": "lease"}]


def test_a_limit_that_is_missing_is_made_with_four_slots(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers[ASK] = [httpx.Response(200, json={"lease_id": "of nothing", "limits": []})]
    server.answers["/v2/concurrency_limits/"] = [httpx.Response(409, text="another run was quicker")]
    hold(server, settings, monkeypatch)
    assert server.bodies("/v2/concurrency_limits/") == [{"name": LIMIT, "limit": 4}]
    assert server.bodies(GIVE_BACK) == [{"lease_id": "lease"}]


def test_slots_that_are_taken_are_waited_for_until_patience_ends(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers[ASK] = [taken(), taken("no number"), httpx.Response(503)]
    hold(server, settings, monkeypatch)
    assert server.paths().count(f"POST {ASK}") == 4
    server.answers[ASK] = [taken("60")] * 100
    with pytest.raises(SlotTimeout):
        hold(server, settings, monkeypatch, patience=0.1)


def test_a_server_that_is_away_is_not_waited_for_as_long_as_a_slot(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers[ASK] = [httpx.ConnectError("refused")] * 1000
    with pytest.raises(PrefectLost):
        hold(server, settings, monkeypatch, patience=3600.0)


def test_a_slot_that_was_given_away_is_taken_anew(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_slots, "_RENEW_AFTER", 0.01)
    server.answers[RENEW] = [httpx.Response(204), httpx.Response(503), httpx.Response(410)]
    again = asyncio.Event()
    answer = httpx.Response(200, json={"lease_id": "another", "limits": [{"limit": 4}]})
    first = httpx.Response(200, json={"lease_id": "lease", "limits": [{"limit": 4}]})
    server.answers[ASK] = [first, answer]

    def note(path: str) -> None:
        if path.endswith("/another/renew"):
            again.set()

    server.on_request = note
    hold(server, settings, monkeypatch, work=again.wait)
    assert server.bodies(GIVE_BACK) == [{"lease_id": "another"}]
