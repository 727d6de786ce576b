"""The record of a run at a Prefect server: sent beside the work, in order, and never a reason for the work to fail."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx

from flows.console.events import ConsoleEvent
from flows.direct.api_client import ApiClient, PrefectLost
from flows.engine.record import RecordedState, Rows
from oci.errors import LocalError

LINES_AFTER = 1.0
"""Seconds for which lines of the log are gathered."""
HEARTBEAT_SECONDS = 60.0
"""How often a run says that it lives: what a reaper of another home goes by."""
_MOST_WAITING, _MOST_LINES, _LONGEST_LINE, _BATCH = 10_000, 10_000, 10_000, 100

Entry = Callable[[], Awaitable[object]]


class ServerRecord:
    """One flow run at a Prefect server. Made by `begin_record`; `close` sends what is left.

    `fault` says why the record is incomplete; empty where it is not.
    """

    def __init__(self, client: ApiClient, flow_run_id: str) -> None:
        self.client, self._id = client, flow_run_id
        self.fault = ""
        self._loop = asyncio.get_running_loop()
        self._entries = asyncio.Queue[Entry]()
        self._lines: list[dict[str, object]] = []
        self._lines_left_out = 0
        self._flush_is_due = False
        self._counts = Counter[str]()
        self._progress: tuple[float, str] | None = None
        self._artifact = ""
        self._tasks = [asyncio.create_task(self._send_all()), asyncio.create_task(self._beat())]

    @property
    def flow_run_id(self) -> str:
        """Return the id that the server gave the run."""
        return self._id

    def log(self, level: int, text: str, created: float, task_run_id: str) -> None:
        """Take a line; it may be written by any thread."""
        if len(self._lines) >= _MOST_LINES:
            self._lines_left_out += 1
            return
        self._lines.append(self._line(level, text, created, task_run_id))
        if not self._flush_is_due:
            self._flush_is_due = True
            with suppress(RuntimeError):  # the loop has ended: a thread that nobody waits for writes still
                self._loop.call_soon_threadsafe(self._loop.call_later, LINES_AFTER, self._enqueue, self._send_lines)

    def _line(self, level: int, text: str, created: float, task_run_id: str = "") -> dict[str, object]:
        line: dict[str, object] = {
            "name": "prefect.task_runs" if task_run_id else "prefect.flow_runs",
            "level": level,
            "message": text[:_LONGEST_LINE],
            "timestamp": datetime.fromtimestamp(created, UTC).isoformat(),
            "flow_run_id": self._id,
        }
        return {**line, "task_run_id": task_run_id} if task_run_id else line

    def begin_task(self, key: str, name: str = "") -> str:
        """Take the begin of a task; return its id."""
        number, task_run_id = self._counts[key], str(uuid4())
        self._counts[key] += 1
        body = {
            "id": task_run_id,
            "name": name or f"{key}-{number}",
            "flow_run_id": self._id,
            "task_key": key,
            "dynamic_key": str(number),
            "state": _state_body(RecordedState("RUNNING")),
        }
        self._enqueue(lambda: self.client.insist("POST", "/task_runs/", body))
        return task_run_id

    def set_task_state(self, task_run_id: str, state: RecordedState) -> None:
        """Take a later state of a task."""
        body = {"state": _state_body(state), "force": True}
        self._enqueue(lambda: self.client.insist("POST", f"/task_runs/{task_run_id}/set_state", body))

    def keep_table(self, key: str, rows: Rows, description: str) -> None:
        """Take the table of a result."""
        body = self._artifact_body(key, "table", json.dumps([dict(row) for row in rows], default=str), description)
        self._enqueue(lambda: self.client.insist("POST", "/artifacts/", body))

    def keep_report(self, key: str, text: str, description: str) -> None:
        """Take a report in Markdown."""
        body = self._artifact_body(key, "markdown", text, description)
        self._enqueue(lambda: self.client.insist("POST", "/artifacts/", body))

    def emit(self, event: ConsoleEvent) -> None:
        """Take an event, of any thread, with this run as what it comes from."""
        run = {"prefect.resource.id": f"prefect.flow-run.{self._id}", "prefect.resource.role": "flow-run"}
        body = {
            "id": str(event.id),
            "occurred": datetime.now(UTC).isoformat(),
            "event": event.event,
            "resource": event.resource,
            "related": [*event.related, run],
            "payload": event.payload,
        }
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._enqueue, lambda: self.client.insist("POST", "/events", [body]))

    def show_progress(self, percent: float, description: str) -> None:
        """Take how far the run is; only the last word counts."""
        is_due, self._progress = self._progress is not None, (percent, description)
        if not is_due:
            self._enqueue(self._send_progress)

    async def close(self, state: RecordedState, patience: float) -> None:
        """Send what is left and the run's last state, for so many seconds at most."""
        self._enqueue(self._send_lines)
        self._enqueue(lambda: self._end(state))
        try:
            async with asyncio.timeout(patience):
                await self._entries.join()
        except TimeoutError:
            self.fault = self.fault or f"Prefect's server at {self.client.api.url} did not answer in time"
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _enqueue(self, entry: Entry) -> None:
        if self._entries.qsize() < _MOST_WAITING:
            self._entries.put_nowait(entry)
        else:
            self.fault = self.fault or "the server is slower than the run"

    async def _send_all(self) -> None:
        """Send one after the other. A server that is lost is sent no more, but for the last state."""
        while True:
            entry = await self._entries.get()
            try:
                await entry()
            except PrefectLost as error:
                self.fault = self.fault or error.message
                self.client.patience = 0.0
            except (LocalError, httpx.HTTPError, ValueError, KeyError) as error:
                self.fault = self.fault or str(error)
            finally:
                self._entries.task_done()

    async def _send_lines(self) -> None:
        self._flush_is_due = False
        left_out, self._lines_left_out = self._lines_left_out, 0
        if left_out:
            text = f"{left_out} lines were left out"
            self._lines.append(self._line(logging.WARNING, text, datetime.now(UTC).timestamp()))
        while self._lines:
            batch, self._lines[:_BATCH] = self._lines[:_BATCH], []
            await self.client.insist("POST", "/logs/", batch)

    async def _send_progress(self) -> None:
        assert self._progress is not None
        (percent, description), self._progress = self._progress, None
        body = self._artifact_body(None, "progress", percent, description)
        if self._artifact:
            await self.client.insist(
                "PATCH", f"/artifacts/{self._artifact}", {"data": percent, "description": description}
            )
        else:
            self._artifact = _id_of(await self.client.insist("POST", "/artifacts/", body))

    def _artifact_body(self, key: str | None, kind: str, data: object, description: str) -> dict[str, object]:
        named = {"key": key} if key else {}
        return {**named, "type": kind, "data": data, "description": description, "flow_run_id": self._id}

    async def _end(self, state: RecordedState) -> None:
        """Set the last state; once only where the server is lost, for it may be back."""
        await self.client.insist(
            "POST", f"/flow_runs/{self._id}/set_state", {"state": _state_body(state), "force": False}
        )

    async def _beat(self) -> None:
        while True:
            beat = {
                "id": str(uuid4()),
                "occurred": datetime.now(UTC).isoformat(),
                "event": "prefect.flow-run.heartbeat",
                "resource": {"prefect.resource.id": f"prefect.flow-run.{self._id}"},
            }
            with suppress(LocalError, httpx.HTTPError):
                await self.client.ask("POST", "/events", [beat])
            await asyncio.sleep(HEARTBEAT_SECONDS)


async def begin_record(
    client: ApiClient, flow: str, name: str, parameters: dict[str, Any], tags: tuple[str, ...]
) -> ServerRecord:
    """Tell the server that a run of a flow begins; raise PrefectLost, RequestRefused, LocalError for a wrong login."""
    known = await client.insist("POST", "/flows/", {"name": flow})
    body = {
        "flow_id": _id_of(known),
        "parameters": parameters,
        "tags": list(tags),
        "idempotency_key": str(uuid4()),  # a request that is sent again makes no other run
        "state": _state_body(RecordedState("RUNNING")),
        **({"name": name} if name else {}),
    }
    made = await client.insist("POST", "/flow_runs/", body)
    return ServerRecord(client, _id_of(made))


def _id_of(made: Any) -> str:
    """Return the id that a server gave something; raise LocalError for what is none: it becomes part of paths and file names."""
    try:
        return str(UUID(made["id"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise LocalError("Prefect's server returned an id that is no UUID; check ENTREPOT_PREFECT_API_URL") from None


def _state_body(state: RecordedState) -> dict[str, object]:
    """Return a state as Prefect's API takes it."""
    body: dict[str, object] = {"type": state.type, "name": state.shown_name}
    return {**body, "message": state.message} if state.message else body
