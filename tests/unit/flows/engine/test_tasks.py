"""Tasks of a run that its own process runs: tried again where that may help, with all of it in the record and the log."""

import asyncio
import logging

import pytest

from flows.console.events import ConsoleEvent
from flows.engine import tasks
from flows.engine.current import DirectRun, recorded_run_id, run_id, run_logger, try_number, within_run
from flows.engine.record import RecordedState, Rows
from flows.engine.tasks import FlowTask, task
from oci.errors import InvalidInput, RemoteUnavailable
from tests.unit.flows.direct.runs import NoSlots


class Told:
    """A record that keeps what it is told."""

    flow_run_id = "of-the-server"

    def __init__(self) -> None:
        self.states, self.lines = list[str](), list[tuple[str, str]]()

    def log(self, level: int, text: str, created: float, task_run_id: str) -> None:
        assert level >= logging.INFO
        assert created > 0
        self.lines.append((task_run_id, text))

    def begin_task(self, key: str, name: str) -> str:
        self.states.append(f"{key} {name} begins".replace("  ", " "))
        return f"run of {key}"

    def set_task_state(self, task_run_id: str, state: RecordedState) -> None:
        self.states.append(f"{task_run_id}: {state.shown_name}")

    def keep_table(self, key: str, rows: Rows, description: str) -> None: ...

    def keep_report(self, key: str, text: str, description: str) -> None: ...

    def show_progress(self, percent: float, description: str) -> None: ...

    def emit(self, event: ConsoleEvent) -> None: ...


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(tasks, "task_retry_pause", lambda _failures: 0.0)
    return Told()


def failing(*errors: Exception, is_retried: bool = True) -> "FlowTask[[], int]":
    """A task that fails with these errors, one at each try, and then returns which try it is."""
    waiting = list(errors)

    @task(name="ask", is_retried=is_retried)
    async def ask() -> int:
        run_logger().info("try %d", try_number())
        if waiting:
            raise waiting.pop(0)
        return try_number()

    return ask


def run_within(told: Told, work: "FlowTask[[], int]") -> int:
    async def whole() -> int:
        with within_run(DirectRun(NoSlots(), told)):
            assert recorded_run_id() == "of-the-server"
            assert run_id() != recorded_run_id()
            return await work()

    return asyncio.run(whole())


def away() -> RemoteUnavailable:
    return RemoteUnavailable("away", registry="registry.example")


def test_what_may_pass_is_tried_twice_more(told: Told) -> None:
    assert run_within(told, failing(away(), away())) == 3
    again = ["run of ask: Retrying"] * 2
    assert told.states == ["ask begins", *again, "run of ask: Completed"]
    assert [line for line in told.lines if line[0]] == [("run of ask", f"try {number}") for number in (1, 2, 3)]
    with pytest.raises(RemoteUnavailable):
        run_within(told, failing(away(), away(), away()))
    assert told.states[-1] == "run of ask: Failed"


def test_what_will_not_pass_is_not_tried_again(told: Told) -> None:
    with pytest.raises(InvalidInput):
        run_within(told, failing(InvalidInput("no such tag")))
    with pytest.raises(RemoteUnavailable):
        run_within(told, failing(away(), is_retried=False))
    with pytest.raises(ZeroDivisionError):
        run_within(told, failing(ZeroDivisionError()))
    assert told.states == ["ask begins", "run of ask: Failed"] * 3


def test_a_task_is_named_by_its_parameters(told: Told) -> None:
    @task(name="sync-one", task_run_name="sync {name} {count}")
    async def sync_one(name: str, count: int = 1) -> str:
        return f"{name}{count}"

    async def whole() -> str:
        with within_run(DirectRun(NoSlots(), told)):
            return await sync_one("app", count=2)

    assert asyncio.run(whole()) == "app2"
    assert told.states == ["sync-one sync app 2 begins", "run of sync-one: Completed"]


def test_a_task_that_is_cancelled_has_crashed(told: Told) -> None:
    @task(name="wait")
    async def wait() -> int:
        await asyncio.Event().wait()
        return 0

    async def whole() -> None:
        with within_run(DirectRun(NoSlots(), told)):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(whole())
    assert told.states == ["wait begins", "run of wait: Crashed"]


def test_a_run_that_nobody_records_has_an_id_of_its_own() -> None:
    async def ids() -> tuple[str, str]:
        with within_run(DirectRun(NoSlots())):
            return run_id(), recorded_run_id()

    first, second = asyncio.run(ids()), asyncio.run(ids())
    assert len({first[0], second[0], ""}) == 3
    assert (first[1], second[1]) == ("", "")
