"""Two workers of one Prefect server: they share the chunks of a run, take over from each other, and stop with the run."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.recovery.run_locks import locks_folder
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot, PrefectServer, give_prefect_database, start_prefect
from tests.flows.test_prefect_trouble import command_of, pids_of
from tests.homes import new_home
from tests.servers import Child, Children, wait_until
from tests.upstream import Reply, Seen, Upstream

pytestmark = pytest.mark.slow
REPOSITORIES, MANY = 12, 60
POOL = "/work_pools/entrepot"


@dataclass
class ManyUpstream:
    """An upstream that lists its repositories. While `gate` is closed it answers nothing about manifests."""

    prefix: str
    repositories: int = REPOSITORIES
    gate: threading.Event = field(default_factory=threading.Event)
    broken: str = ""

    def __post_init__(self) -> None:
        self.gate.set()
        self.stores: dict[str, MemoryStore] = {}
        for number in range(self.repositories):
            name = f"{self.prefix}/r-{number:03}"
            self.stores[name] = MemoryStore()
            self.stores[name].put_tag("v1", pack_image(self.stores[name], [{"file": name}]).digest)
        self.served = Upstream(self.stores)
        self.served.faults.append(self._answer)

    def _answer(self, seen: Seen, good: Reply) -> Reply | None:
        if seen.path == "/v2/_catalog":
            return Reply(200, json.dumps({"repositories": list(self.stores)}).encode())
        if seen.route == "manifest":
            good = Reply(404, b"{}") if seen.name == self.broken else good
            good.held = lambda: not self.gate.is_set()
            return good
        return None

    @property
    def host(self) -> str:
        return self.served.host


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Iterator[ManyUpstream]:
    made = ManyUpstream(request.node.name[:20].strip("_").replace("_", "-"), getattr(request, "param", REPOSITORIES))
    with made.served:
        yield made
        made.gate.set()


@dataclass
class Site:
    """A Prefect server with two workers over one home."""

    prefect: PrefectServer
    entrepot: Entrepot
    workers: list[Child]

    def chunks(self, parent: str) -> list[dict[str, Any]]:
        """The flow runs of a run's chunks."""
        found = self.prefect.filter("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [parent]}})
        return [one for one in found if one["deployment_id"]]

    def newest(self, flow: str) -> str:
        """The id of the newest run of a flow, once there is one that works."""
        found: list[str] = []

        def is_there() -> bool:
            wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
            found[:] = [str(one["id"]) for one in self.prefect.filter("flow_runs", sort="START_TIME_DESC", **wanted)]
            return bool(found)

        wait_until(is_there, 60, f"{flow} is under way")
        return found[0]

    def await_states(self, parent: str, wanted: str, seconds: float) -> list[dict[str, Any]]:
        """The chunks of a run, once both are in a state."""

        def are_there() -> bool:
            return [one["state"]["type"] for one in self.chunks(parent)] == [wanted] * 2

        wait_until(are_there, seconds, f"both chunks are {wanted}")
        return self.chunks(parent)

    def engines(self) -> list[int]:
        """The processes of flow runs."""
        return [one for one in pids_of(self.entrepot.home) if "flows.orchestration.engine" in _command_of(one)]

    def begin(self, many: ManyUpstream) -> tuple[Child, str]:
        """Start a run of two chunks, both under way, whose upstream is silent."""
        many.gate.clear()
        command = self.entrepot.start("sync-many", f"{many.host}/**", "--chunks", "2", "--json")
        parent = self.newest("sync-many")
        self.await_states(parent, "RUNNING", 90)
        wait_until(lambda: many.served.counts["GET", "tags"] > 0, 60, "a chunk has begun")
        return command, parent


def _command_of(number: int) -> str:
    try:
        return command_of(number)
    except OSError:
        return ""


@pytest.fixture(scope="module")
def site(module_children: Children, prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    prefect = start_prefect(module_children, give_prefect_database(folder / "server", prefect_database))
    home = new_home(folder / "entrepot", administrator=True)
    entrepot = Entrepot(home, module_children, {"ENTREPOT_PREFECT_API_URL": prefect.api_url})
    workers = [entrepot.start("worker") for _ in range(2)]

    def count() -> int:
        pools = {one["name"] for one in prefect.filter("work_pools")}
        return len(prefect.ask("POST", f"{POOL}/workers/filter", {})) if "entrepot" in pools else 0

    workers[0].wait_ready(lambda: count() == 2, seconds=120)
    return Site(prefect, entrepot, workers)


def versions(home: Path, prefix: str) -> dict[str, int]:
    """How many versions each repository has."""
    with open_catalog(read_settings(home=home)) as catalog:
        found = catalog.query.run("SELECT repository, count(*) AS number FROM versions GROUP BY ALL ORDER BY ALL")
    return {row["repository"]: row["number"] for row in found.to_pylist() if row["repository"].startswith(prefix)}


def test_a_replica_is_synced_by_workers_and_switched_by_its_run(site: Site, many: ManyUpstream) -> None:
    many.gate.clear()
    command = site.entrepot.start("replicate", many.host, "--json")
    wait_until(lambda: many.served.counts["GET", "tags"] == REPOSITORIES, 90, "both chunks have begun")
    name = f"upstream-{many.host.replace(':', '-')}"
    assert site.prefect.ask("GET", f"/v2/concurrency_limits/{name}")["active_slots"] == 2  # the run waits without one
    many.gate.set()
    assert command.wait(120) == 0, command.tail()
    told = command.output()
    result, _end = json.JSONDecoder().raw_decode(told[told.index("{") :])  # lines for people stand around it
    assert {one["path"]: one["action"] for one in result["distributions"]} == dict.fromkeys(many.stores, "added")
    assert result["chunks"] == 2
    chunks = site.chunks(result["flow_run_id"])
    assert {one["state"]["type"] for one in chunks} == {"COMPLETED"}
    assert sum(len(one["parameters"]["syncs"]) for one in chunks) == REPOSITORIES
    assert set(site.prefect.artifacts(result["flow_run_id"])) == {"progress", "markdown"}
    assert versions(site.entrepot.home, many.prefix) == dict.fromkeys(many.stores, 1)


def test_a_path_that_fails_in_a_chunk_leaves_all_as_they_were(site: Site, many: ManyUpstream) -> None:
    many.broken = f"{many.prefix}/r-007"
    failed = site.entrepot("replicate", many.host)
    assert failed.returncode == 1
    assert f"1 path could not be synced, so everything is served as it was:\n  {many.broken}: " in failed.stderr
    served = {one["path"] for one in site.entrepot.json("distribution", "list")}
    assert not served & set(many.stores)
    assert len(versions(site.entrepot.home, many.prefix)) == REPOSITORIES - 1  # kept, for the next try


def requests_of(many: ManyUpstream) -> dict[str, float]:
    """Requests for each repository, by what is asked for; without the list, and the greeting of each connection."""
    found = {f"{method} {route}": number / many.repositories for (method, route), number in many.served.counts.items()}
    return {name: number for name, number in found.items() if name not in ("GET base", "GET other")}


@pytest.mark.parametrize("many", [MANY], indirect=True)
def test_many_repositories_cost_so_many_requests_each_and_one_flow_run_for_each_chunk(
    site: Site, many: ManyUpstream
) -> None:
    first = site.entrepot.json("sync-many", f"{many.host}/**")
    assert (first["counts"]["synced"], first["chunks"]) == (MANY, 2)
    assert first["failed"] == {}
    assert requests_of(many) == {
        "GET tags": 1,
        "HEAD manifest": 1,
        "GET manifest": 1,
        "GET referrers": 1,
        "GET blob": 2,
    }
    assert many.served.counts["GET", "base"] <= MANY + 5  # one for each repository, some for the list
    runs = site.prefect.filter("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [first["flow_run_id"]]}})
    assert len(runs) == 2
    assert len(site.prefect.artifacts(first["flow_run_id"])["table"]["data"]) < 100_000

    many.served.forget()
    again = site.entrepot.json("sync-many", f"{many.host}/**", "--chunks", "3")
    assert (again["counts"]["unchanged"], again["chunks"]) == (MANY, 3)
    assert requests_of(many) == {"GET tags": 1, "HEAD manifest": 1}


def test_a_chunk_of_a_killed_worker_goes_on_at_another(site: Site, many: ManyUpstream) -> None:
    command, parent = site.begin(many)
    working = Counter(int(Path(f"/proc/{one}/stat").read_text().split(")")[1].split()[1]) for one in site.engines())
    killed = next(worker for worker in site.workers if working[worker.pid])
    os.kill(killed.pid, signal.SIGKILL)
    many.gate.set()
    assert command.wait(120) == 0, command.tail()
    chunks = site.chunks(parent)
    assert {one["state"]["type"] for one in chunks} == {"COMPLETED"}
    assert sum(one["run_count"] - 1 for one in chunks) == working[killed.pid]
    assert versions(site.entrepot.home, many.prefix) == dict.fromkeys(many.stores, 1)
    assert site.prefect.flow_run(parent)["state"]["type"] == "COMPLETED"
    site.workers.remove(killed)


@pytest.mark.skipif("TEST_KILLS" not in os.environ, reason="it lasts two minutes: TEST_KILLS is not set")
def test_a_process_that_hangs_is_replaced_and_leaves_once_it_wakes(site: Site, many: ManyUpstream) -> None:
    command, parent = site.begin(many)
    stopped = site.engines()[0]
    os.kill(stopped, signal.SIGSTOP)
    for file in locks_folder(read_settings(home=site.entrepot.home)).glob("*.lock"):
        file.unlink()  # as with a worker on another machine, whose locks nobody sees
    many.gate.set()
    assert command.wait(240) == 0, command.tail()
    chunks = site.chunks(parent)
    assert sorted(one["run_count"] for one in chunks) == [1, 2]
    os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: not site.engines(), 30, "it has left")
    assert {one["state"]["type"] for one in site.chunks(parent)} == {"COMPLETED"}
    assert versions(site.entrepot.home, many.prefix) == dict.fromkeys(many.stores, 1)


def test_a_cancelled_run_stops_its_chunks(site: Site, many: ManyUpstream) -> None:
    command, parent = site.begin(many)
    command.signal(signal.SIGINT)
    assert command.wait(60) == 130
    site.await_states(parent, "CANCELLED", 60)
    wait_until(lambda: not site.engines(), 30, "nobody works on them")


def test_chunks_of_a_dead_run_stop_and_are_not_started_again(site: Site, many: ManyUpstream) -> None:
    command, parent = site.begin(many)
    command.kill()
    chunks = site.await_states(parent, "CANCELLED", 90)
    wait_until(lambda: not site.engines(), 30, "nobody works on them")
    assert [one["run_count"] for one in chunks] == [1, 1]
    assert site.prefect.flow_run(parent)["state"]["type"] == "CRASHED"
    assert versions(site.entrepot.home, many.prefix) == {}
