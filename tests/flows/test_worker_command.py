"""`entrepot worker`: a worker of a Prefect server that somebody else runs, without a registry beside it."""

import signal
from pathlib import Path

import pytest

from tests.cli.commands import Entrepot, PrefectServer, give_prefect_database, start_prefect
from tests.servers import Children, free_port, wait_until

GC = "collect-garbage/collect-garbage"


@pytest.fixture
def prefect(children: Children, prefect_database: Path, tmp_path: Path) -> PrefectServer:
    return start_prefect(children, give_prefect_database(tmp_path / "server", prefect_database))


@pytest.mark.slow
def test_it_registers_the_deployments_and_runs_them(prefect: PrefectServer, children: Children, tmp_path: Path) -> None:
    entrepot = Entrepot(tmp_path / "entrepot", children, {"ENTREPOT_PREFECT_API_URL": prefect.api_url})
    worker = entrepot.start("worker")
    worker.wait_ready(lambda: "collect-garbage" in {one["name"] for one in prefect.filter("deployments")}, seconds=60)
    deployment = prefect.ask("GET", f"/deployments/name/{GC}")
    run = prefect.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {}})

    def is_done() -> bool:
        state = prefect.flow_run(run["id"])["state_type"]
        assert state not in {"FAILED", "CRASHED"}, worker.tail()
        return bool(state == "COMPLETED")

    wait_until(is_done, 120, "the worker has run it")
    assert not (entrepot.home / "up.json").exists()
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_it_needs_a_server(children: Children, tmp_path: Path) -> None:
    entrepot = Entrepot(tmp_path / "entrepot", children)
    unnamed = entrepot("worker")
    assert unnamed.returncode == 2
    assert "ENTREPOT_PREFECT_API_URL" in unnamed.stderr
    silent = {"ENTREPOT_PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api", "ENTREPOT_PREFECT_TIMEOUT": "1"}
    away = entrepot("worker", env=silent)
    assert away.returncode == 1
    assert "has not answered for 1 s" in away.stderr
