"""What becomes of runs whose process is gone: rules, locks, and the order in which they are ended."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.recovery.orphans import MAX_ATTEMPTS, PENDING_SECONDS, SILENT_SECONDS, Fate, OpenRun, judge, state_message
from flows.recovery.reaper import Reaper
from flows.recovery.run_locks import forget_run, hold_run, is_held, locked_runs

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=3)
RUN = OpenRun("r", "sync x", "RUNNING", LONG_AGO, 1, has_deployment=True)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("changed", "fate"),
    [
        ({"has_process": True}, None),
        ({"has_process": True, "state": "CANCELLING"}, None),
        ({"has_process": False}, Fate.AGAIN),
        ({"has_process": False, "has_deployment": False}, Fate.CRASH),
        ({"has_process": False, "attempts": MAX_ATTEMPTS - 1}, Fate.AGAIN),
        ({"has_process": False, "attempts": MAX_ATTEMPTS}, Fate.CRASH),
        ({"has_process": False, "state": "CANCELLING"}, Fate.CANCEL),
        # a run without a lock here: by what its server has heard of it
        ({}, Fate.AGAIN),
        ({"heard_at": ago(SILENT_SECONDS - 1)}, None),
        ({"heard_at": ago(SILENT_SECONDS + 1)}, Fate.AGAIN),
        ({"since": ago(SILENT_SECONDS - 1)}, None),
        # taken by a worker, not begun: the lock of an attempt before says nothing
        ({"state": "PENDING", "since": ago(PENDING_SECONDS - 1), "has_process": False}, None),
        ({"state": "PENDING", "since": ago(PENDING_SECONDS + 1), "has_process": False}, Fate.AGAIN),
        ({"state": "PENDING", "since": ago(PENDING_SECONDS + 1), "has_process": True}, None),
        ({"state": "PENDING", "attempts": 0}, Fate.AGAIN),
        # its worker was there to see it crash
        ({"state": "CRASHED", "has_process": False}, Fate.AGAIN),
        ({"state": "CRASHED", "has_process": False, "attempts": MAX_ATTEMPTS}, None),
        ({"state": "CRASHED", "has_process": False, "has_deployment": False}, None),
        ({"state": "CRASHED", "has_process": None}, None),
        ({"state": "CRASHED", "has_process": True}, None),
        # a part of another run goes with that
        ({"is_child": True, "has_process": None}, None),
        ({"is_child": True, "parent_is_over": True, "has_deployment": False}, Fate.CRASH),
        # a part with a process of its own is its parent's business, and ends with it
        ({"is_child": True, "has_process": False}, None),
        ({"is_child": True, "has_process": False, "state": "CRASHED"}, None),
        ({"is_child": True, "has_process": True, "parent_is_over": True}, Fate.STOP),
        ({"is_child": True, "has_process": True, "parent_is_over": True, "state": "CANCELLING"}, None),
        ({"is_child": True, "has_process": False, "parent_is_over": True}, Fate.CANCEL),
        ({"is_child": True, "parent_is_over": True, "heard_at": ago(1)}, Fate.STOP),
        ({"is_child": True, "parent_is_over": True, "state": "SCHEDULED", "since": NOW}, Fate.CANCEL),
        ({"is_child": True, "parent_is_over": True, "state": "CRASHED"}, None),
    ],
)
def test_the_fate_of_a_run(changed: dict[str, Any], fate: Fate | None) -> None:
    assert judge(replace(RUN, **changed), NOW, listening_since=LONG_AGO) is fate


def test_silence_counts_only_while_the_server_could_hear() -> None:
    assert judge(RUN, NOW, listening_since=ago(SILENT_SECONDS - 1)) is None
    assert judge(replace(RUN, has_process=False), NOW, listening_since=NOW) is Fate.AGAIN


def test_a_lock_is_held_as_long_as_its_process_lives(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    assert is_held(folder, "r") is None
    code = (
        "import sys; from pathlib import Path; "
        "from flows.recovery.run_locks import hold_run; hold_run(Path(sys.argv[1]), 'r'); "
    )
    code += "print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    assert is_held(folder, "r") is True
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert is_held(folder, "r") is False
    assert locked_runs(folder) == ["r"]
    forget_run(folder, "r")
    forget_run(folder, "r")
    assert is_held(folder, "r") is None


def test_a_run_goes_on_where_no_lock_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert hold_run(tmp_path / "file" / "runs", "r") is False
    assert hold_run(tmp_path / "runs", "r") is True


@pytest.mark.parametrize("run_id", ["../../catalog", "..", "", "a/b", "a.b", "A\n", "a" * 37])
def test_what_is_no_id_locks_nothing_and_removes_nothing(tmp_path: Path, run_id: str) -> None:
    kept = tmp_path / "catalog.lock"
    kept.touch()
    folder = tmp_path / "prefect" / "runs"
    folder.mkdir(parents=True)
    assert hold_run(folder, run_id) is False
    assert is_held(folder, run_id) is None
    forget_run(folder, run_id)
    assert kept.exists()
    assert list(folder.iterdir()) == []


class Api:
    """A Prefect API of a few runs, that notes what states they are given."""

    def __init__(self, *runs: dict[str, Any], parents: dict[str, str] | None = None) -> None:
        self.runs, self.parents = {run["id"]: run for run in runs}, parents or {}
        self.set: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []

    async def __call__(self, method: str, path: str, body: Any) -> Any:
        if path == "/events/filter":
            return {"events": self.events}
        if path.endswith("/set_state"):
            run_id = path.split("/")[2]
            assert body["force"]
            self.set.append((run_id, body["state"]["type"]))
            self.runs[run_id]["state"]["type"] = body["state"]["type"]
            return {}
        assert (method, path) == ("POST", "/flow_runs/filter")
        return [run for run in self.runs.values() if self._fits(run, body)][body.get("offset", 0) :][
            : body.get("limit", 200)
        ]

    def _fits(self, run: dict[str, Any], body: Any) -> bool:
        wanted = body.get("flow_runs", {})
        if "task_runs" in body:
            return bool(run["id"] == body["task_runs"]["id"]["any_"][0].removeprefix("task-of-"))
        if "parent_flow_run_id" in wanted:
            parent = wanted["parent_flow_run_id"]["any_"][0]
            if run["parent_task_run_id"] != f"task-of-{parent}":
                return False
        if "parent_task_run_id" in wanted and not run["parent_task_run_id"]:
            return False
        named = run["id"] in wanted["id"]["any_"] if "id" in wanted else True
        return named and run["state"]["type"] in wanted["state"]["type"]["any_"]


def run_of(
    run_id: str, *, parent: str = "", deployment: bool = True, tags: tuple[str, ...] = ("entrepot",)
) -> dict[str, Any]:
    return {
        "id": run_id, "name": f"run {run_id}", "state": {"type": "RUNNING", "timestamp": LONG_AGO.isoformat()}, "run_count": 1,
        "deployment_id": "d" if deployment else None, "parent_task_run_id": f"task-of-{parent}" if parent else None, "tags": tags,
    }  # fmt: skip


def reaper(api: Api, folder: Path, *, own: bool = True) -> Reaper:
    made = Reaper(api, folder, own=own, clock=lambda: NOW)
    made._listening_since = LONG_AGO
    return made


async def look(api: Api, folder: Path, *, own: bool = True) -> dict[str, Fate]:
    return await reaper(api, folder, own=own).look()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of locks, where `mine` is held by this process."""
    hold_run(tmp_path, "mine")
    return tmp_path


def test_a_parent_starts_again_once_its_children_have_ended(folder: Path) -> None:
    api = Api(
        run_of("top"),
        run_of("child", parent="top", deployment=False),
        run_of("grand", parent="child", deployment=False),
    )
    assert asyncio.run(look(api, folder)) == {"grand": Fate.CRASH, "child": Fate.CRASH, "top": Fate.AGAIN}
    assert api.set == [("grand", "CRASHED"), ("child", "CRASHED"), ("top", "CRASHED"), ("top", "SCHEDULED")]


def test_children_with_processes_of_their_own_wait_for_a_parent_that_starts_again_and_end_with_one_that_does_not(
    folder: Path,
) -> None:
    waiting = run_of("waiting", parent="top")
    waiting["state"]["type"] = "SCHEDULED"
    api = Api(run_of("top"), run_of("mine", parent="top"), waiting)
    (folder / "top.lock").touch()
    assert asyncio.run(look(api, folder)) == {"top": Fate.AGAIN}
    api.set.clear()
    api.runs["top"]["state"]["type"] = "CANCELLED"
    assert asyncio.run(look(api, folder)) == {"mine": Fate.STOP, "waiting": Fate.CANCEL}
    assert api.set == [("mine", "CANCELLING"), ("waiting", "CANCELLED")]
    assert asyncio.run(look(api, folder)) == {}
    assert is_held(folder, "mine") is True


def test_a_living_run_and_its_children_are_left_alone(folder: Path) -> None:
    api = Api(run_of("mine"), run_of("child", parent="mine", deployment=False))
    assert asyncio.run(look(api, folder)) == {}
    assert locked_runs(folder) == ["mine"]


def test_a_run_that_its_worker_saw_crash_is_started_again_once(folder: Path) -> None:
    api, crashed = Api(run_of("seen")), run_of("seen")
    crashed["state"]["type"] = "CRASHED"
    api.runs["seen"] = crashed
    (folder / "seen.lock").touch()
    assert asyncio.run(look(api, folder)) == {"seen": Fate.AGAIN}
    assert api.set == [("seen", "SCHEDULED")]
    crashed["state"]["type"] = "CRASHED"  # without a lock: somebody has looked at it
    assert asyncio.run(look(api, folder)) == {}


def test_what_a_busy_server_has_refused_is_done_by_the_next_look(folder: Path) -> None:
    class Busy(Api):
        async def __call__(self, method: str, path: str, body: Any) -> Any:
            if path.endswith("/set_state") and body["state"]["type"] == "SCHEDULED" and not self.set[1:]:
                self.set.append(("busy", "503"))
                raise httpx.HTTPError("503")
            return await super().__call__(method, path, body)

    api = Busy(run_of("r"))
    (folder / "r.lock").touch()
    with pytest.raises(httpx.HTTPError):
        asyncio.run(look(api, folder))
    assert api.runs["r"]["state"]["type"] == "CRASHED"
    assert asyncio.run(look(api, folder)) == {"r": Fate.AGAIN}
    assert api.set == [("r", "CRASHED"), ("busy", "503"), ("r", "SCHEDULED")]
    assert is_held(folder, "r") is None


def test_a_run_that_ended_well_while_it_was_looked_at_is_left_alone(folder: Path) -> None:
    class Ending(Api):
        async def __call__(self, method: str, path: str, body: Any) -> Any:
            found = await super().__call__(method, path, body)
            copied = json.loads(json.dumps(found))
            self.runs["r"]["state"]["type"] = "COMPLETED"  # just after the list, and its process with it
            return copied

    (folder / "r.lock").touch()
    api = Ending(run_of("r"))
    assert asyncio.run(look(api, folder)) == {}
    assert api.set == []


def test_locks_of_runs_that_have_ended_go_with_the_second_look(folder: Path) -> None:
    api = Api(run_of("mine"))
    (folder / "ended.lock").touch()
    looking = reaper(api, folder)
    assert asyncio.run(looking.look()) == {}
    assert locked_runs(folder) == ["ended", "mine"]
    assert asyncio.run(looking.look()) == {}
    assert locked_runs(folder) == ["mine"]


def test_on_a_server_of_others_only_runs_of_ours_are_ended(folder: Path) -> None:
    api = Api(run_of("theirs", tags=()), run_of("ours"))
    assert asyncio.run(look(api, folder, own=False)) == {"ours": Fate.AGAIN}


def test_all_pages_of_runs_are_looked_at(folder: Path) -> None:
    api = Api(*(run_of(f"r{number}", deployment=False) for number in range(450)))
    assert len(asyncio.run(look(api, folder))) == 450


def test_every_fate_is_told() -> None:
    assert "started again" in state_message(RUN, Fate.AGAIN)
    assert "run the command again" in state_message(replace(RUN, has_deployment=False), Fate.CRASH)
    assert "in 3 attempts" in state_message(replace(RUN, attempts=3), Fate.CRASH)
    assert "belongs to" in state_message(replace(RUN, is_child=True), Fate.CRASH)
