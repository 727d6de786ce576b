"""Ends flow runs whose process is gone, and has those of deployments started again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock, Timeout

from flows.recovery.orphans import SILENT_SECONDS, Fate, OpenRun, is_run_over, judge, state_message
from flows.recovery.run_locks import TAG, forget_run, is_held, locked_runs

log = logging.getLogger(__name__)

EVERY = 20.0
_OPEN = ("RUNNING", "PENDING", "CANCELLING")
_PAGE = 200
_AGAIN_AFTER = 5.0
"""Seconds before a run is started again, times its attempts."""

Ask = Callable[[str, str, object], Awaitable[Any]]
"""Sends a request to Prefect's API (method, path, body) and returns the answer's document; raises httpx.HTTPError."""


class Reaper:
    """Looks for orphans among the runs of one server; `own` says that all of them are ours."""

    def __init__(
        self, ask: Ask, locks: Path, *, own: bool, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._ask, self._locks, self._own, self._clock = ask, locks, own, clock
        self._listening_since = clock()
        self._over: set[str] = set()

    async def run(self, every: float = EVERY) -> None:
        """Look now and then, for ever; a look that fails is made again. Of several reapers of a home one looks at a time."""
        self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        alone = FileLock(self._locks / "reaper", timeout=0)
        while True:
            try:
                with suppress(Timeout), alone:
                    await self.look()
            except (httpx.HTTPError, OSError, ValueError, KeyError) as error:
                log.warning(
                    "looking for orphaned flow runs failed, it is tried again: %s", error or type(error).__name__
                )
            await asyncio.sleep(every)

    async def look(self) -> dict[str, Fate]:
        """End the orphans that are there; return what was done with which run."""
        done: dict[str, Fate] = {}
        open_runs = await self._runs({"state": {"type": {"any_": _OPEN}}})
        runs = await self._candidates(open_runs)
        for run in runs:
            fate = judge(run, self._clock(), listening_since=self._listening_since)
            if fate is not None and run.id not in done and await self._is_still(run):
                await self._end_children(run, runs, done)  # a parent that starts again must find them ended
                await self._end(run, fate)
                done[run.id] = fate
        self._tidy({found["id"] for found in open_runs})
        return done

    async def orphans(self) -> list[OpenRun]:
        """Return the runs whose process is gone, and end none of them; one without a lock counts by what its server has heard."""
        runs = await self._candidates(await self._runs({"state": {"type": {"any_": _OPEN}}}))
        long_ago = datetime.fromtimestamp(0, UTC)
        return [run for run in runs if judge(run, self._clock(), listening_since=long_ago) is not None]

    async def _candidates(self, open_runs: list[Mapping[str, Any]]) -> list[OpenRun]:
        others = [*await self._crashed(open_runs), *await self._scheduled_children()]
        return [await self._known(found) for found in [*open_runs, *others]]

    async def _crashed(self, open_runs: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Runs that a worker has seen crash, since a look was last taken: those with a lock still."""
        locked = set(await asyncio.to_thread(locked_runs, self._locks)) - {found["id"] for found in open_runs}
        if not locked:
            return []
        return await self._runs({"id": {"any_": sorted(locked)}, "state": {"type": {"any_": ["CRASHED"]}}})

    async def _scheduled_children(self) -> list[Mapping[str, Any]]:
        """Runs that no worker has begun and that belong to another run, whose end is theirs."""
        return await self._runs({"parent_task_run_id": {"is_null_": False}, "state": {"type": {"any_": ["SCHEDULED"]}}})

    async def _runs(self, which: Mapping[str, object]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        while True:
            wanted = {"flow_runs": which, "sort": "ID_DESC"}
            page = await self._ask("POST", "/flow_runs/filter", {**wanted, "limit": _PAGE, "offset": len(found)})
            found += page
            if len(page) < _PAGE:
                return [run for run in found if self._own or TAG in run["tags"]]

    async def _known(self, found: Mapping[str, Any]) -> OpenRun:
        has_process = await asyncio.to_thread(is_held, self._locks, found["id"])
        parent = found.get("parent_task_run_id")
        since = datetime.fromisoformat(found["state"]["timestamp"])
        has_own_process = bool(found.get("deployment_id")) or not parent
        is_silent = has_process is None and has_own_process and found["state"]["type"] in ("RUNNING", "CANCELLING")
        return OpenRun(
            id=found["id"],
            name=found["name"],
            state=found["state"]["type"],
            since=since,
            attempts=found["run_count"],
            has_deployment=bool(found.get("deployment_id")),
            is_child=bool(parent),
            has_process=has_process,
            heard_at=await self._heard_at(found["id"]) if is_silent else None,
            parent_is_over=await self._is_over(parent, found) if parent else False,
        )

    async def _is_still(self, run: OpenRun) -> bool:
        """Return whether a run is as it was listed: it may have ended well before its process did, which is what was looked
        at last."""
        return bool(await self._runs({"id": {"any_": [run.id]}, "state": {"type": {"any_": [run.state]}}}))

    async def _heard_at(self, run_id: str) -> datetime | None:
        """Return when the server last had an event of a run, within the time that counts."""
        since = self._clock() - timedelta(seconds=SILENT_SECONDS)
        wanted = {
            "filter": {
                "occurred": {"since": since.isoformat()},
                "resource": {"id": [f"prefect.flow-run.{run_id}"]},
                "order": "DESC",
            },
            "limit": 1,
        }
        events = (await self._ask("POST", "/events/filter", wanted))["events"]
        return datetime.fromisoformat(events[0]["occurred"]) if events else None

    async def _is_over(self, parent_task_run: str, child: Mapping[str, Any]) -> bool:
        """Return whether the run that a task belongs to has ended, or is being cancelled where its child has a process of its
        own."""
        wanted = {"task_runs": {"id": {"any_": [parent_task_run]}}, "limit": 1}
        parents = await self._ask("POST", "/flow_runs/filter", wanted)
        if not parents:
            return False
        state = parents[0]["state"]
        if child.get("deployment_id"):
            since, may_start_again = datetime.fromisoformat(state["timestamp"]), bool(parents[0].get("deployment_id"))
            return is_run_over(state["type"], since, self._clock(), has_deployment=may_start_again)
        return state["type"] not in (*_OPEN, "SCHEDULED", "PAUSED")

    async def _end_children(self, parent: OpenRun, runs: list[OpenRun], done: dict[str, Fate]) -> None:
        """End the open children of a run that is about to be ended, theirs first; those with a process of their own go on, for
        a parent that starts again finds them."""
        children = [run for run in runs if run.is_child and not run.has_deployment and run.id not in done]
        if not children:
            return
        wanted = {
            "id": {"any_": [run.id for run in children]},
            "parent_flow_run_id": {"any_": [parent.id]},
            "state": {"type": {"any_": _OPEN}},
        }
        named = {found["id"] for found in await self._ask("POST", "/flow_runs/filter", {"flow_runs": wanted})}
        for child in children:
            if child.id in named:
                await self._end_children(child, runs, done)
                await self._end(child, Fate.CRASH)
                done[child.id] = Fate.CRASH

    async def _end(self, run: OpenRun, fate: Fate) -> None:
        state: dict[str, object] = {"message": state_message(run, fate)}
        if fate is Fate.CANCEL:
            state |= {"type": "CANCELLED", "name": "Cancelled"}
        elif fate is Fate.STOP:
            state |= {"type": "CANCELLING", "name": "Cancelling"}
        else:
            state |= {"type": "CRASHED", "name": "Crashed"}
        if run.state != "CRASHED":
            await self._set(run, state)
        if fate is Fate.AGAIN:
            due = self._clock() + timedelta(seconds=_AGAIN_AFTER * max(run.attempts, 1))
            details = {"scheduled_time": due.isoformat()}
            await self._set(run, {**state, "type": "SCHEDULED", "name": "AwaitingRetry", "state_details": details})
        log.warning("flow run %s (%s): %s", run.name, run.id, state["message"])
        # Last, so that a look that fails in between is made again; a process that is started again makes the lock anew.
        await asyncio.to_thread(self._forget_free, run.id)

    def _forget_free(self, run_id: str) -> None:
        if is_held(self._locks, run_id) is False:
            forget_run(self._locks, run_id)

    async def _set(self, run: OpenRun, state: Mapping[str, object]) -> None:
        await self._ask("POST", f"/flow_runs/{run.id}/set_state", {"state": state, "force": True})

    def _tidy(self, open_runs: set[str]) -> None:
        """Remove locks of runs that two looks have seen ended; one that crashed during this look is for the next."""
        over = set(locked_runs(self._locks)) - open_runs
        for run_id in over & self._over:
            self._forget_free(run_id)
        self._over = over


def asking(client: httpx.AsyncClient) -> Ask:
    """Ask by a client whose base URL is the API's."""

    async def ask(method: str, path: str, body: object) -> Any:
        answer = await client.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    return ask
