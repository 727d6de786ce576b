"""`entrepot up` while parts of it are killed: the registry goes on, the rest comes back, runs are started again."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from oci.memory import MemoryStore
from tests.cli.commands import Entrepot, ask_prefect, give_prefect_database
from tests.flows.test_prefect_trouble import command_of, pids_of
from tests.flows.test_sync_flow import NAME, blob_gets, image, numbers, processes_of
from tests.servers import Child, Children, answers, free_port, wait_until
from tests.upstream import Upstream

pytestmark = pytest.mark.slow


@dataclass
class Running:
    """An `entrepot up`, and its Prefect as the owner of the home asks it."""

    child: Child
    entrepot: Entrepot
    registry: int
    prefect: int

    @property
    def login(self) -> str:
        return (self.entrepot.home / "prefect-login").read_text().strip()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        user, _, password = self.login.partition(":")
        return ask_prefect(self.prefect, (user, password), method, path, body)

    def run(self, deployment: str, request: dict[str, object]) -> str:
        """Start a flow run; its id."""
        found = self.ask("GET", f"/deployments/name/{deployment}/{deployment}")
        made = self.ask("POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": request})
        return str(made["id"])

    def state(self, run_id: str) -> tuple[str, str]:
        state = self.ask("GET", f"/flow_runs/{run_id}")["state"]
        return state["type"], state["message"] or ""

    def await_state(self, run_id: str, wanted: str, seconds: float = 120) -> str:
        """Its message, once a run is in a state."""

        def is_there() -> bool:
            state = self.state(run_id)
            assert state[0] == wanted or state[0] not in {"COMPLETED", "FAILED", "CANCELLED"}, state
            return state[0] == wanted

        wait_until(is_there, seconds, f"run {run_id} is {wanted}")
        return self.state(run_id)[1]

    def pid(self, module: str) -> int:
        """The process of ours that runs a module."""
        (found,) = [
            number
            for number in pids_of(self.entrepot.home)
            if f"-m {module} " in f"{command_of(number)} "
            and "flows.orchestration.processes.tether" not in command_of(number)
        ]
        return found

    def answers(self) -> bool:
        return answers(f"http://127.0.0.1:{self.registry}/readyz")


def start(entrepot: Entrepot) -> Running:
    registry, prefect = free_port(), free_port()
    child = entrepot.start("up", "--listen", f"127.0.0.1:{registry}", "--prefect-port", str(prefect))
    child.wait_ready(lambda: "Serving until Ctrl-C" in child.output(), seconds=240)
    return Running(child, entrepot, registry, prefect)


@pytest.fixture(scope="module")
def up(module_children: Children, prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Running:
    home = give_prefect_database(tmp_path_factory.mktemp("up") / "entrepot", prefect_database)
    return start(Entrepot(home, module_children))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(NAME)


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as served:
        yield served


def test_the_login_is_in_no_command_line_log_or_output(up: Running) -> None:
    secret = up.login.partition(":")[2]
    assert not any(secret in command_of(number) for number in pids_of(up.entrepot.home))
    said = [up.child.output(), *(file.read_text() for file in (up.entrepot.home / "logs").glob("*.log"))]
    assert not any(secret in text for text in said)
    assert (up.entrepot.home / "prefect-login").stat().st_mode & 0o777 == 0o600
    told = json.loads((up.entrepot.home / "up.json").read_text())
    assert secret not in str(told)
    assert (
        httpx.post(f"http://127.0.0.1:{up.prefect}/api/flow_runs/filter", json={}, trust_env=False).status_code == 401
    )


def test_a_command_finds_the_server_of_its_own_home(up: Running) -> None:
    found = up.entrepot.json("gc")
    assert up.state(found["flow_run_id"])[0] == "COMPLETED"


def test_a_worker_s_flow_reads_and_writes_in_its_folders_alone(
    up: Running, upstream: Upstream, store: MemoryStore, tmp_path: Path
) -> None:
    image(store, "v1")
    up.entrepot.json("sync", f"{upstream.host}/{NAME}", "kept/app")
    runs = {
        "outside": up.run("export-repositories", {"bundle": str(tmp_path / "x.tar"), "repositories": ["kept/app"]}),
        "import": up.run("import-bundle", {"bundle": "/etc", "dry_run": True}),
        "inside": up.run("export-repositories", {"bundle": "out.tar", "repositories": ["kept/app"]}),
    }
    for name in ("outside", "import"):
        assert "outside of what flows of a worker may use" in up.await_state(runs[name], "FAILED")
    up.await_state(runs["inside"], "COMPLETED")
    assert not (tmp_path / "x.tar").exists()
    assert (up.entrepot.home / "work" / "out.tar").is_file()
    up.entrepot.json("export", str(tmp_path / "x.tar"), "kept/app")  # the caller's own


def test_when_the_worker_dies_the_registry_goes_on_and_the_run_is_started_again(
    up: Running, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)
    upstream.silence(route="blob", seconds=600)
    run_id = up.run("sync-repository", {"remote": f"{upstream.host}/{NAME}", "repository": "again/app"})
    wait_until(lambda: bool(blob_gets(upstream)), 60, "the worker copies")
    os.kill(up.pid("flows.orchestration.engine"), signal.SIGKILL)  # the run's own process, which its worker sees
    wait_until(lambda: up.ask("GET", f"/flow_runs/{run_id}")["run_count"] == 2, 120, "it is started again")
    os.kill(up.pid("flows.orchestration.worker"), signal.SIGKILL)
    assert up.answers()
    upstream.faults.clear()
    up.await_state(run_id, "COMPLETED", 180)
    states = [state["type"] for state in up.ask("GET", f"/flow_run_states/?flow_run_id={run_id}")]
    assert ("CRASHED" in states, states.count("RUNNING")) == (True, 3)
    assert up.answers()
    assert up.child.running
    assert "worker ended with exit code -9; it is started again in 1 s" in up.child.output()


def test_when_prefect_s_server_dies_a_run_goes_on(up: Running, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1", upstream.host)
    upstream.silence(route="blob", seconds=5)
    run_id = up.run("sync-repository", {"remote": f"{upstream.host}/{NAME}", "repository": "survived/app"})
    wait_until(lambda: bool(blob_gets(upstream)), 60, "the worker copies")
    os.kill(up.pid("flows.orchestration.servers.server"), signal.SIGKILL)
    assert up.answers()
    wait_until(lambda: answers(f"http://127.0.0.1:{up.prefect}/api/health"), 120, "the server is back")
    up.await_state(run_id, "COMPLETED", 180)
    assert "prefect-server ended with exit code -9; it is started again in 1 s" in up.child.output()


def test_a_run_that_was_stopped_with_all_the_rest_goes_on_at_the_next_start(
    up: Running, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)
    upstream.silence(route="blob", seconds=600)
    run_id = up.run("sync-repository", {"remote": f"{upstream.host}/{NAME}"})
    wait_until(lambda: bool(blob_gets(upstream)), 60, "the worker copies")
    up.child.signal(signal.SIGINT)
    assert up.child.wait(60) == 0
    assert processes_of(up.entrepot.home) == []
    upstream.faults.clear()
    again = start(up.entrepot)
    again.await_state(run_id, "COMPLETED", 180)
    assert numbers(up.entrepot) == [1]
