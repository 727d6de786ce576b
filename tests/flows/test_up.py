"""`entrepot up --demo`, the first thing anybody runs: from an empty home to a pull, and once more."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Entrepot, ask_prefect, give_prefect_database
from tests.flows.test_sync_flow import processes_of
from tests.servers import Child, Children, Client, answers, free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def entrepot(tmp_path: Path, children: Children) -> Entrepot:
    return Entrepot(tmp_path / "entrepot", children)


def start(entrepot: Entrepot, *arguments: str) -> tuple[Child, dict[str, int]]:
    """Start it on free ports; returns once it has introduced itself."""
    ports = {name: free_port() for name in ("listen", "prefect", "demo")}
    child = entrepot.start(
        "up", "--demo", "--listen", f"127.0.0.1:{ports['listen']}", "--prefect-port", str(ports["prefect"]),
        "--demo-port", str(ports["demo"]), *arguments,
    )  # fmt: skip
    child.wait_ready(lambda: "Serving until Ctrl-C" in child.output() or '"pull"' in child.output(), seconds=240)
    return child, ports


def prefect(entrepot: Entrepot, port: int, path: str) -> Any:
    """What Prefect's API answers to the owner of the home."""
    user, _, password = (entrepot.home / "prefect-login").read_text().strip().partition(":")
    return ask_prefect(port, (user, password), "GET", f"/{path}")


def stop(entrepot: Entrepot, child: Child) -> None:
    """Press Ctrl-C; nothing may be left."""
    child.signal(signal.SIGINT)
    assert child.wait(60) == 0
    assert processes_of(entrepot.home) == []


def test_from_nothing_to_a_pull_and_again(entrepot: Entrepot, podman: Client, tool: Callable[[str], str]) -> None:
    tool("buildah")
    child, ports = start(entrepot)
    shown = child.output()
    (line,) = re.findall(r"^podman pull .*$", shown, re.MULTILINE)
    podman(*line.split()[1:])
    assert answers(f"http://127.0.0.1:{ports['prefect']}/")
    password = (entrepot.home / "admin-password").read_text().strip()
    assert shown.count(password) == 1
    assert f"Prefect login  the whole line in {entrepot.home}/prefect-login" in shown
    assert "took others' rights away" not in shown
    assert (entrepot.home / "admin-password").stat().st_mode & 0o777 == 0o600

    (version,) = entrepot.json("version", "list", "demo/hello")
    run = prefect(entrepot, ports["prefect"], f"flow_runs/{version['flow_run_id']}")
    assert (run["state_type"], version["tags"]) == ("COMPLETED", 5)
    # By its task run Prefect shows a flow run within its parent.
    step = prefect(entrepot, ports["prefect"], f"task_runs/{run['parent_task_run_id']}")
    parent = prefect(entrepot, ports["prefect"], f"flow_runs/{step['flow_run_id']}")
    assert (parent["state_type"], bool(parent["deployment_id"])) == ("COMPLETED", True)
    upstream = f"127.0.0.1:{ports['demo']}/demo/hello"
    assert {"repo:demo/hello", "repo:demo/app", f"upstream:{upstream}"} <= set(parent["tags"])
    lines = dict(re.findall(r"^(sync|filter|build|sign|attest|export|pull) +(.*)$", shown, re.MULTILINE))
    assert list(lines) == ["sync", "filter", "build", "sign", "attest", "export", "pull"]
    assert "3 referrers" in lines["pull"]
    bundle = lines["export"].partition(": ")[0]
    assert Path(bundle).is_file()
    key = entrepot.home / "work" / "demo" / "signing.pub"
    (verified,) = entrepot.json("verify", "demo/app:latest", "--key", str(key))
    assert verified["tagged"]["good"] == verified["bundled"]["good"] == 1
    refused = entrepot("up", "--demo")
    assert refused.returncode == 1
    assert f"as process {child.pid}" in refused.stderr
    synced = entrepot("sync", upstream, "--json")  # on the server that is up
    found = json.loads(synced.stdout)
    assert (found["version"], found["changed"]) == (1, False)
    run_id = found["flow_run_id"]
    assert f"flow run http://127.0.0.1:{ports['prefect']}/runs/flow-run/{run_id}\n" in synced.stderr
    run = prefect(entrepot, ports["prefect"], f"flow_runs/{run_id}")
    assert {"repo:demo/hello", f"upstream:{upstream}"} <= set(run["tags"])
    failed = entrepot("sync", f"127.0.0.1:{ports['demo']}/demo/none")
    (url,) = re.findall(r"^flow run (\S+)$", failed.stderr, re.MULTILINE)
    assert (failed.returncode, f"its log: {url}\n" in failed.stderr) == (1, True)
    stop(entrepot, child)

    child, _ = start(entrepot, "--json")
    again = json.loads(child.output().splitlines()[-1])
    assert again["flow_run"]["completed"]
    said = dict(re.findall(r"^(\w+) +(.*)$", again["flow_run"]["message"], re.MULTILINE))
    assert "nothing to change" in said["sync"]
    assert "is built on demo/curated:1.1.0 already" in said["build"]
    assert "is there already" in said["export"]
    assert len(entrepot.json("version", "list", "demo/app")) == 3
    assert password not in child.output()
    assert len(entrepot.json("version", "list", "demo/hello")) == 1
    stop(entrepot, child)


def test_without_buildah_the_rest_runs_and_when_a_part_dies_the_whole_ends(
    entrepot: Entrepot, prefect_database: Path, tmp_path: Path
) -> None:
    give_prefect_database(entrepot.home, prefect_database)
    entrepot.env["PATH"] = without_buildah(tmp_path / "bin")
    child, _ = start(entrepot)
    lines = dict(re.findall(r"^([a-z]+)  +(.*)$", child.output().partition("Flow run")[2], re.MULTILINE))
    assert list(lines) == ["sync", "filter", "build", "promote", "sign", "attest", "export", "pull"]
    assert "buildah is not installed" in lines["build"]
    assert "demo/app:1.1.0" in lines["pull"]
    assert "3 referrers" in lines["pull"]
    (registry,) = [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and is_registry(folder, entrepot.home)
    ]
    os.kill(registry, signal.SIGKILL)
    assert child.wait(60) == 1
    assert "registry ended" in child.output()
    assert "Traceback" not in child.output()
    assert processes_of(entrepot.home) == []


def without_buildah(folder: Path) -> str:
    """Return a PATH with all that is installed but buildah."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name != "buildah" and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)


def is_registry(folder: Path, home: Path) -> bool:
    """Whether a process of /proc is the registry of a home, and its first process."""
    try:
        command = (folder / "cmdline").read_bytes().split(b"\0")
        parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        above = (Path("/proc") / parent / "cmdline").read_bytes()
    except OSError:
        return False
    return b"registry_api" in command and str(home).encode() in command and b"registry_api" not in above


def test_an_upstream_that_fails_is_told_and_the_rest_serves(entrepot: Entrepot, prefect_database: Path) -> None:
    give_prefect_database(entrepot.home, prefect_database)
    nobody = free_port()
    entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    child, ports = start(entrepot, "--upstream", f"127.0.0.1:{nobody}/team/app")
    assert "error: the flow run ended as" in child.output()
    assert f"127.0.0.1:{nobody}" in child.output()
    assert answers(f"http://127.0.0.1:{ports['listen']}/readyz")
    child.signal(signal.SIGTERM)
    assert child.wait(60) == 1
