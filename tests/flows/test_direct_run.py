"""Commands run flows themselves: no Prefect is imported, no server is started, and a server that is there gets the record."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.direct.home_slots import HomeSlots
from oci.memory import MemoryStore
from tests.cli.commands import Entrepot, PrefectServer
from tests.flows.test_sync_flow import NAME, blob_gets, image, numbers
from tests.servers import ROOT, Children, free_port
from tests.upstream import Upstream

pytestmark = pytest.mark.slow

IMPORTS = """
import sys
from cli import exit_codes
from cli.main import run
code = run(sys.argv[1:])
print(sorted(name for name in ("prefect", "fastapi", "sqlalchemy") if name in sys.modules), file=sys.stderr)
exit_codes.leave(code)
"""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(NAME)


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as served:
        yield served


@pytest.fixture
def alone(tmp_path: Path, children: Children) -> Entrepot:
    """The command over a home that knows no Prefect server."""
    return Entrepot(tmp_path / "alone", children)


def imported(home: Path, *arguments: str, env: dict[str, str] | None = None) -> list[str]:
    """Which large packages a command has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments],
        env={**os.environ, "ENTREPOT_HOME": str(home), **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stderr.splitlines()[-1].replace("'", '"')))


def test_a_sync_imports_no_prefect_with_a_server_and_without(
    alone: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    source = f"{upstream.host}/{NAME}"
    assert imported(alone.home, "sync", source) == []
    assert imported(alone.home, "sync", source, env={"ENTREPOT_PREFECT_API_URL": prefect.api_url}) == []
    assert imported(alone.home, "gc") == []
    assert imported(alone.home, "curate", "other/app", NAME) == []
    assert imported(alone.home, "tag", "list", NAME) == []


def test_without_a_server_none_is_started_and_the_result_is_the_same(
    alone: Entrepot, entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    done = alone("sync", f"{upstream.host}/{NAME}", "--json")
    assert done.returncode == 0
    assert "flow run" not in done.stderr
    result = json.loads(done.stdout)
    assert not (alone.home / "logs").exists()
    assert not list((alone.home / "prefect").glob("*.db"))
    assert result.pop("flow_run_id") is None
    recorded = entrepot.json("sync", f"{upstream.host}/{NAME}")
    assert recorded.pop("flow_run_id")
    for one in (result, recorded):
        one.pop("seconds")
    assert result == recorded
    with open_catalog(read_settings(home=alone.home)) as catalog:
        version = catalog.history.version(NAME, 1)
        assert version.flow_run_id == ""
        assert version.operation_id != ""


def test_a_server_that_should_be_there_is_missed(alone: Entrepot, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    url = f"http://127.0.0.1:{free_port()}/api"
    done = alone("sync", f"{upstream.host}/{NAME}", env={"ENTREPOT_PREFECT_API_URL": url})
    assert done.returncode == 0
    told = f"note: Prefect at {url} does not answer, so it has no record of this run"
    assert [line for line in done.stderr.splitlines() if "Prefect" in line] == [told]


def test_without_a_server_a_task_is_tried_again_and_failures_are_the_same(
    alone: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    upstream.fail(503, route="blob", times=1)
    alone.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    done = alone("--debug", "sync", f"{upstream.host}/{NAME}")
    assert done.returncode == 0, done.stderr
    assert max(blob_gets(upstream).values()) == 2
    assert "copy-content failed, it is tried again in " in done.stderr
    bad = image(store, "bad")
    upstream.replace(bad.layers[0].digest, bytes(bad.layers[0].size))
    failed = alone("sync", f"{upstream.host}/{NAME}", "--json")
    assert failed.returncode == 1
    assert set(json.loads(failed.stdout)["error"]["detail"]["failed"]) == {"bad"}
    assert numbers(alone) == [1]


def test_without_a_server_no_more_than_four_commands_of_a_home_talk_to_an_upstream(
    alone: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    limit = f"upstream-{upstream.host.replace(':', '-')}"
    slots = HomeSlots.of(read_settings(home=alone.home))
    held = [slots._take(limit) for _ in range(4)]
    done = alone("sync", f"{upstream.host}/{NAME}", env={"ENTREPOT_SLOT_TIMEOUT": "4"})
    assert done.returncode == 1
    told = f"waiting for a slot of {limit}: 4 of 4 are taken by other commands of this home"
    assert done.stderr.count(told) == 2
    assert "none came free within 4 s (ENTREPOT_SLOT_TIMEOUT)" in done.stderr
    for descriptor in held:
        assert descriptor is not None
        os.close(descriptor)
    assert alone("sync", f"{upstream.host}/{NAME}").returncode == 0


def test_many_syncs_without_a_server_are_done_by_the_command(
    alone: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    result = alone.json("sync-many", f"{upstream.host}/{NAME}", "--below", "mirrors")
    assert (result["chunks"], result["counts"]["synced"], result["flow_run_id"]) == (0, 1, None)


def test_a_record_has_what_prefect_s_engine_leaves(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    done = entrepot("sync", f"{upstream.host}/{NAME}")
    assert done.returncode == 0
    first = done.stderr.splitlines()[0]
    assert first.startswith("flow run http://127.0.0.1:")
    run = prefect.flow_run(first.rpartition("/")[2])
    assert (run["name"], run["state"]["type"], run["run_count"]) == (f"sync {upstream.host}/{NAME}", "COMPLETED", 1)
    assert set(run["tags"]) == {"entrepot", f"repo:{NAME}", f"upstream:{upstream.host}/{NAME}"}
    assert run["parameters"]["remote"] == f"{upstream.host}/{NAME}"
    assert run["start_time"] <= run["end_time"]
    tasks = prefect.task_runs(run["id"])
    assert {task["state"]["type"] for task in tasks} == {"COMPLETED"}
    assert {task["run_count"] for task in tasks} == {1}
    assert all(task["start_time"] <= task["end_time"] for task in tasks)
    lines = prefect.filter("logs", logs={"flow_run_id": {"any_": [run["id"]]}}, sort="TIMESTAMP_ASC")
    texts = [line["message"] for line in lines]
    assert texts[0].startswith(f"additive sync of {upstream.host}/{NAME}")
    assert any("has 1 tags" in line["message"] and line["task_run_id"] for line in lines)
    limit = prefect.ask("GET", f"/v2/concurrency_limits/upstream-{upstream.host.replace(':', '-')}")
    assert limit["active_slots"] == 0
