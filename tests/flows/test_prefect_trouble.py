"""Commands and their Prefect server when one of the two dies: what is told, what is bounded, what is free again."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from catalog.prefect.address import ensure_login
from catalog.settings import read_settings
from flows.orchestration.servers.home import server_environment
from flows.recovery.orphans import SILENT_SECONDS, Fate
from flows.recovery.reaper import Reaper, asking
from flows.recovery.run_locks import is_held, locked_runs, locks_folder
from oci.memory import MemoryStore
from tests.cli.commands import Entrepot, PrefectServer, give_prefect_database, start_prefect
from tests.flows.test_sync_flow import NAME, blob_gets, image
from tests.servers import Children, answers, wait_until
from tests.upstream import Upstream

T = TypeVar("T")

pytestmark = pytest.mark.slow
QUICK = {"ENTREPOT_PREFECT_TIMEOUT": "3"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(NAME)


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as served:
        yield served


@pytest.fixture(scope="module")
def server(
    module_children: Children, prefect_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> PrefectServer:
    """A server as we run it over one home, which the tests of this module share."""
    home = give_prefect_database(tmp_path_factory.mktemp("home") / "entrepot", prefect_database)
    settings = read_settings(home=home)
    login = ensure_login(settings)
    started = start_prefect(
        module_children, settings.root, login=login, env=lambda port: server_environment(settings, port, login)
    )
    return replace(started, home=settings.root)


@pytest.fixture
def entrepot(server: PrefectServer, children: Children) -> Entrepot:
    """The command over the server's home, with the server and its login set by name, as for a server of somebody else."""
    known = {"ENTREPOT_PREFECT_API_URL": server.api_url, "PREFECT_API_AUTH_STRING": server.login}
    return Entrepot(server.home, children, known)


def await_server(server: PrefectServer) -> None:
    server.child.wait_ready(lambda: answers(f"{server.api_url}/health"), seconds=90)


def limit_of(server: PrefectServer, upstream: Upstream) -> str:
    """The upstream's concurrency limit, made as a sync makes it."""
    name = f"upstream-{upstream.host.replace(':', '-')}"
    server.ask("POST", "/v2/concurrency_limits/", {"name": name, "limit": 4})
    return name


def active(server: PrefectServer, limit: str) -> int:
    return int(server.ask("GET", f"/v2/concurrency_limits/{limit}")["active_slots"])


def test_slots_outlive_their_server_and_lost_ones_come_back(server: PrefectServer, upstream: Upstream) -> None:
    limit = limit_of(server, upstream)
    taken = {"names": [limit], "slots": 1, "lease_duration": 600}
    lease = server.ask("POST", "/v2/concurrency_limits/increment-with-lease", taken)["lease_id"]
    leaseless = {"names": [limit], "slots": 3}  # as of a server that kept its leases in memory
    server.ask("POST", "/v2/concurrency_limits/increment", leaseless)
    assert active(server, limit) == 4
    server.child.kill()
    server.child.start()
    await_server(server)
    wait_until(lambda: active(server, limit) == 1, 30, "slots of nobody are free again")
    server.ask("POST", "/v2/concurrency_limits/decrement-with-lease", {"lease_id": lease})
    assert active(server, limit) == 0


def test_waiting_for_a_slot_says_for_what_and_ends(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)  # content that no other test has
    limit = limit_of(server, upstream)
    server.ask(
        "POST",
        "/v2/concurrency_limits/increment-with-lease",
        {"names": [limit], "slots": 4, "lease_duration": 600},
    )
    done = entrepot("sync", f"{upstream.host}/{NAME}", env={"ENTREPOT_SLOT_TIMEOUT": "6"})
    assert done.returncode == 1
    told = f"waiting for a slot of {limit}: 4 of 4 are taken; no run that is under way is known"
    assert done.stderr.count(told) == 2
    assert "none came free within 6 s (ENTREPOT_SLOT_TIMEOUT)" in done.stderr
    assert "Traceback" not in done.stderr
    assert blob_gets(upstream) == {}


def test_a_killed_command_is_seen_as_crashed_and_waiting_names_who_holds_what(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)  # content that no other test has
    limit = limit_of(server, upstream)
    upstream.silence(route="blob", seconds=60)
    child = entrepot.start("sync", f"{upstream.host}/{NAME}")
    child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
    (run,) = server.filter("flow_runs", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    assert "entrepot" in run["tags"]
    server.ask("PATCH", f"/v2/concurrency_limits/{limit}", {"limit": 1})
    waited = entrepot("sync", f"{upstream.host}/{NAME}", "other/name", env={"ENTREPOT_SLOT_TIMEOUT": "5"})
    assert f"1 of 1 are taken; runs with {upstream.host}: {run['name']}" in waited.stderr
    child.kill()
    wait_until(lambda: server.flow_run(run["id"])["state"]["type"] == "CRASHED", 60, "the run is seen as crashed")
    assert "run the command again" in server.flow_run(run["id"])["state"]["message"]


def test_a_run_of_another_home_is_known_by_its_heartbeats(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore, tmp_path: Path
) -> None:
    image(store, "v1", upstream.host)
    upstream.silence(route="blob", seconds=60)
    other = replace(entrepot, home=tmp_path / "other")
    child = other.start("sync", f"{upstream.host}/{NAME}")
    child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
    (run,) = server.filter("flow_runs", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})

    async def ask(now: datetime, act: Callable[[Reaper], Awaitable[T]]) -> T:
        async with httpx.AsyncClient(base_url=server.api_url, auth=server.auth, trust_env=False, timeout=30) as client:
            reaper = Reaper(asking(client), locks_folder(read_settings(home=server.home)), own=True, clock=lambda: now)
            reaper._listening_since = now - timedelta(hours=1)
            return await act(reaper)

    def look(now: datetime) -> dict[str, Fate]:
        return asyncio.run(ask(now, Reaper.look))

    def is_heard() -> bool:
        return asyncio.run(ask(datetime.now(UTC), lambda reaper: reaper._heard_at(run["id"]))) is not None

    wait_until(is_heard, 60, "the server knows of a heartbeat")
    assert look(datetime.now(UTC)) == {}
    child.kill()  # nobody here can see that; silence tells
    assert look(datetime.now(UTC) + timedelta(seconds=SILENT_SECONDS + 60)) == {run["id"]: Fate.CRASH}
    assert server.flow_run(run["id"])["state"]["type"] == "CRASHED"


def test_a_server_that_wants_another_login_says_what_to_set(entrepot: Entrepot) -> None:
    done = entrepot("gc", env={"PREFECT_API_AUTH_STRING": "admin:wrong"})
    assert done.returncode == 1
    assert "answered 401: it does not take the login given; set PREFECT_API_AUTH_STRING" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- the server goes -------------------------------------------------------------------------------------------


def test_a_command_whose_server_goes_does_its_work_and_says_that_the_record_is_incomplete(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)  # content that no other test has
    upstream.silence(route="blob", seconds=6)
    child = entrepot.start("sync", f"{upstream.host}/{NAME}", "lost/before", env=QUICK)
    child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
    server.child.kill()
    try:
        assert child.wait(40) == 0, child.output()
    finally:
        server.child.start()
        await_server(server)
    assert "lost/before: version 1; 1 added" in child.output()
    told = "note: Prefect's record of this run is incomplete: Prefect's server at "
    assert child.output().count(told) == 1
    assert "Traceback" not in child.output()
    (run,) = server.filter("flow_runs", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    locks = locks_folder(read_settings(home=entrepot.home))
    assert run["id"] in locked_runs(locks)
    assert not is_held(locks, run["id"])  # so that a reaper ends it


def test_a_server_that_comes_back_has_the_whole_record(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)  # content that no other test has
    upstream.silence(route="blob", seconds=4)
    child = entrepot.start("sync", f"{upstream.host}/{NAME}", "lost/meanwhile")
    child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
    server.child.kill()
    server.child.start()
    await_server(server)
    assert child.wait(60) == 0, child.output()
    assert "incomplete" not in child.output()
    run = server.filter("flow_runs", sort="START_TIME_DESC", limit=1)[0]
    assert run["state"]["type"] == "COMPLETED"
    names = sorted(task["name"].rpartition("-")[0] for task in server.task_runs(run["id"]))
    assert names == ["commit-version", "copy-content", "list-tags", "resolve-tags"]
    assert {task["state"]["type"] for task in server.task_runs(run["id"])} == {"COMPLETED"}


def test_a_server_that_hangs_keeps_no_command_from_its_work(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)  # content that no other test has
    upstream.silence(route="blob", seconds=4)
    child = entrepot.start("sync", f"{upstream.host}/{NAME}", "lost/after", env=QUICK)
    child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
    server.child.signal(signal.SIGSTOP)
    try:
        assert child.wait(60) == 0, child.output()
    finally:
        server.child.signal(signal.SIGCONT)
    assert "lost/after: version 1; 1 added" in child.output()
    assert "record of this run is incomplete" in child.output()


def pids_of(home: Path) -> list[int]:
    """Processes whose environment names a home."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                if str(home).encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def command_of(number: int) -> str:
    return (Path("/proc") / str(number) / "cmdline").read_bytes().replace(b"\0", b" ").decode()


# --- SIGTERM ---------------------------------------------------------------------------------------------------


def test_sigterm_ends_a_command_as_ctrl_c_does(
    server: PrefectServer, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1", upstream.host)  # content that no other test has
    upstream.silence(route="blob", seconds=60)
    for number, code, by in ((signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")):
        upstream.forget()
        child = entrepot.start("sync", f"{upstream.host}/{NAME}", "ended/early")
        child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
        before = child.output()
        child.signal(number)
        assert child.wait(30) == code, child.output()
        assert child.output().removeprefix(before).splitlines() == [f"ended by {by}; what was done until then is kept"]
    runs = server.filter("flow_runs", sort="START_TIME_DESC", limit=2)
    assert {run["state"]["type"] for run in runs} <= {"CRASHED", "CANCELLED"}
