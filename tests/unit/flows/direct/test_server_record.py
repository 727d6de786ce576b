"""The record of a run: in order, in few requests, and no reason to fail."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from catalog.settings import Settings, read_settings
from flows.console.events import ConsoleEvent
from flows.direct import api_client, server_record
from flows.direct.api_client import PrefectLost
from flows.direct.server_record import ServerRecord, begin_record
from flows.engine.record import RecordedState
from oci.errors import LocalError
from tests.unit.flows.direct.runs import MemoryServer

DONE = RecordedState("COMPLETED", "done")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path, prefect_timeout=0.3)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> MemoryServer:
    monkeypatch.setattr(server_record, "LINES_AFTER", 0.0)
    monkeypatch.setattr(api_client, "_FIRST_PAUSE", 0.01)
    return MemoryServer()


Work = Callable[[ServerRecord], Awaitable[None]]


def record(server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, work: Work) -> ServerRecord:
    """Record a run that does some work; return its record."""

    async def whole() -> ServerRecord:
        async with server.client(settings, monkeypatch) as client:
            made = await begin_record(client, "sync-repository", "sync it", {}, ("entrepot",))
            await work(made)
            await made.close(DONE, 5.0)
            return made

    return asyncio.run(whole())


async def nothing(_record: ServerRecord) -> None:
    pass


def test_a_run_without_tasks_is_three_requests_and_a_heartbeat(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = record(server, settings, monkeypatch, nothing)
    assert made.fault == ""
    expected = ["POST /flows/", "POST /flow_runs/", f"POST /flow_runs/{made.flow_run_id}/set_state", "POST /events"]
    assert sorted(server.paths()) == sorted(expected)
    (begun,) = server.bodies("/flow_runs/")
    assert (begun["name"], begun["tags"], begun["state"]["type"]) == ("sync it", ["entrepot"], "RUNNING")
    (ended,) = server.bodies(f"/flow_runs/{made.flow_run_id}/set_state")
    assert ended["state"] == {"type": "COMPLETED", "name": "Completed", "message": "done"}


def test_lines_are_sent_together_and_bounded(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_record, "_MOST_LINES", 150)

    async def work(made: ServerRecord) -> None:
        for number in range(200):
            made.log(logging.INFO, f"{number}" + "x" * 20_000, 1.0, "a-task" if number else "")

    record(server, settings, monkeypatch, work)
    sent = server.bodies("/logs/")
    assert [len(batch) for batch in sent] == [100, 51]
    assert max(len(line["message"]) for batch in sent for line in batch) == 10_000
    assert "task_run_id" not in sent[0][0]
    assert sent[0][1]["task_run_id"] == "a-task"
    assert sent[1][-1]["message"] == "50 lines were left out"


def test_only_the_last_word_of_a_progress_is_sent(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(made: ServerRecord) -> None:
        for percent in (10.0, 20.0):
            made.show_progress(percent, "copying")
        await made._entries.join()
        for percent in (30.0, 100.0):
            made.show_progress(percent, "done")

    record(server, settings, monkeypatch, work)
    (made,) = server.bodies("/artifacts/")
    assert (made["type"], made["data"], "key" in made) == ("progress", 20.0, False)
    (path,) = [path for path in server.paths() if path.startswith("PATCH")]
    assert server.bodies(path.removeprefix("PATCH ")) == [{"data": 100.0, "description": "done"}]


def test_events_and_reports_are_those_of_the_run(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = ConsoleEvent(UUID(int=7), "entrepot.version.created", {"prefect.resource.id": "entrepot.repository.a"})

    async def work(made: ServerRecord) -> None:
        await asyncio.to_thread(made.emit, event)
        made.keep_report("pipeline-a", "# Report", "all is done")

    made = record(server, settings, monkeypatch, work)
    (sent,) = [one for batch in server.bodies("/events") for one in batch if one["event"] == event.event]
    assert (sent["id"], sent["resource"]) == (str(event.id), event.resource)
    assert sent["related"][-1]["prefect.resource.id"] == f"prefect.flow-run.{made.flow_run_id}"
    (report,) = server.bodies("/artifacts/")
    assert (report["type"], report["key"], report["data"]) == ("markdown", "pipeline-a", "# Report")


def test_a_server_that_is_away_for_a_moment_is_asked_again(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/task_runs/"] = [httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(500)]
    made = record(server, settings, monkeypatch, _one_task)
    assert made.fault == ""
    assert server.paths().count("POST /task_runs/") == 4
    assert len({body["id"] for body in server.bodies("/task_runs/")}) == 1


async def _one_task(made: ServerRecord) -> None:
    made.set_task_state(made.begin_task("copy", ""), DONE)


def test_a_server_that_is_lost_is_sent_no_more_but_the_last_state(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/task_runs/"] = [httpx.ConnectError("refused")] * 1000
    made = record(server, settings, monkeypatch, _one_task)
    assert "did not answer" in made.fault
    assert server.paths()[-1] == f"POST /flow_runs/{made.flow_run_id}/set_state"


def test_what_a_server_refuses_makes_the_record_incomplete_and_no_more(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/task_runs/"] = [httpx.Response(422, text="no such field")]
    made = record(server, settings, monkeypatch, _one_task)
    assert "responded 422 to POST /task_runs/: no such field" in made.fault
    assert server.paths().count("POST /task_runs/") == 1


def test_a_run_that_cannot_be_begun_is_not_begun(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/flows/"] = [httpx.ConnectError("refused")] * 1000
    with pytest.raises(PrefectLost, match="did not answer") as lost:
        record(server, settings, monkeypatch, nothing)
    assert lost.value.retryable


@pytest.mark.parametrize("answer", [{"id": "../../catalog"}, {"id": 7}, {"id": None}, {}, []])
def test_an_id_that_is_none_is_taken_for_no_run(
    server: MemoryServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    server.answers["/flow_runs/"] = [httpx.Response(201, json=answer)]
    with pytest.raises(LocalError, match="no UUID"):
        record(server, settings, monkeypatch, nothing)
