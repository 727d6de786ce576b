"""One `entrepot up` that the tests of Prefect's console share, its API, and an upstream to sync from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oci.memory import MemoryStore
from tests.cli.commands import Entrepot, ask_prefect, give_prefect_database
from tests.servers import Child, Children, free_port, wait_until
from tests.upstream import Upstream


@dataclass
class Console:
    """An `entrepot up`, and its Prefect as the owner of the home asks it."""

    child: Child
    entrepot: Entrepot
    registry: int
    prefect: int

    @property
    def login(self) -> str:
        return (self.entrepot.home / "prefect-login").read_text().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.prefect}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        user, _, password = self.login.partition(":")
        return ask_prefect(self.prefect, (user, password), method, path, body)

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment that comes with us."""
        return dict(self.ask("GET", f"/deployments/name/{name}/{name}"))

    def run(self, name: str, fields: dict[str, object]) -> str:
        """Start a flow run; its id."""
        made = self.ask("POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": fields})
        return str(made["id"])

    def flow_run(self, run_id: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/flow_runs/{run_id}"))

    def await_state(self, run_id: str, *wanted: str, seconds: float = 300) -> dict[str, Any]:
        """A run, once it is in a state."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [self.flow_run(run_id)]
            state = found[0]["state"]
            assert state["type"] in wanted or state["type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}, (
                state
            )
            return state["type"] in wanted

        wait_until(is_there, seconds, f"run {run_id} is {wanted}")
        return found[0]

    def finish(self, name: str, fields: dict[str, object]) -> dict[str, Any]:
        """A run of a deployment, once it is completed."""
        return self.await_state(self.run(name, fields), "COMPLETED")

    def runs_of(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment, newest first."""
        which = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}, "sort": "START_TIME_DESC"}
        return list(self.ask("POST", "/flow_runs/filter", which))

    def artifacts(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The artifacts of a run, by key; a progress has none."""
        which = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
        return {str(one["key"]): one for one in self.ask("POST", "/artifacts/filter", which)}

    def events(self, event: str, resource: str) -> list[dict[str, Any]]:
        """Events of one kind about one resource, by the label that names it."""
        which = {"filter": {"event": {"name": [event]}, "resource": {"labels": {"prefect.resource.name": [resource]}}}}
        return list(self.ask("POST", "/events/filter", which)["events"])

    def logs(self, run_id: str) -> str:
        """What a run has logged."""
        found = self.ask("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(one["message"] for one in found)


@pytest.fixture(scope="session")
def console(session_children: Children, prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Console:
    """An `entrepot up` whose Prefect looks for what has not happened every second."""
    home = give_prefect_database(tmp_path_factory.mktemp("console") / "entrepot", prefect_database)
    entrepot = Entrepot(home, session_children, {"PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S"})
    registry, prefect = free_port(), free_port()
    child = entrepot.start("up", "--listen", f"127.0.0.1:{registry}", "--prefect-port", str(prefect))
    child.wait_ready(lambda: "Serving until Ctrl-C" in child.output(), seconds=240)
    return Console(child, entrepot, registry, prefect)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("team/app")


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    """A registry with one repository, `team/app`."""
    with Upstream({"team/app": store}) as served:
        yield served
