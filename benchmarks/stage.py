"""The processes of a benchmark: both registries, Prefect's server, and the commands that are timed."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.wire import Server
from tests.servers import (
    Child,
    Children,
    Client,
    DockerRegistry,
    EntrepotServer,
    answers,
    free_port,
    make_skopeo,
    start_docker_registry,
    start_entrepot,
)

ENTREPOT = Path(sys.executable).parent / "entrepot"


@dataclass
class Stage:
    """Everything below one temporary folder; leaving `children` stops it all."""

    folder: Path
    children: Children

    def peer(self, name: str) -> tuple[Server, DockerRegistry]:
        """A new docker-registry as Debian configures it (blob descriptors cached in memory), with a quiet log."""
        storage = {
            "filesystem": {"rootdirectory": str(self.folder / name)},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
        }
        started = start_docker_registry(self.children, settings={"storage": storage})
        return Server("docker-registry", started.port), started

    def ours(self, name: str, *, env: Mapping[str, str] | None = None) -> tuple[Server, EntrepotServer]:
        """A registry of ours over a home of that name, with the settings as they come unless `env` says otherwise."""
        started = start_entrepot(self.children, self.folder / name, env=env)
        return Server("entrepot", started.port, started.username, started.password), started

    def skopeo(self) -> Client:
        return make_skopeo(self.folder / "skopeo")

    def prefect(self, name: str = "prefect") -> "Prefect":
        """Prefect's server, as `entrepot up` runs one."""
        port = free_port()
        env = {"PREFECT_HOME": str(self.folder / name)}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        child = self.children.start("prefect-server", command, env=env)
        url = f"http://127.0.0.1:{port}/api"
        child.wait_ready(lambda: answers(f"{url}/health"), seconds=120)
        return Prefect(url, child)


@dataclass(frozen=True)
class Prefect:
    """A running Prefect server."""

    url: str
    child: Child

    def last_run_seconds(self) -> float:
        """How long the last flow run ran, from its start to its end, as Prefect recorded it."""
        body = {"sort": "START_TIME_DESC", "limit": 1}
        deadline = time.monotonic() + 10
        while True:
            answer = httpx.post(f"{self.url}/flow_runs/filter", json=body, trust_env=False).raise_for_status()
            (run,) = answer.json()
            if run["state_type"] == "COMPLETED":
                return float(run["total_run_time"])
            assert time.monotonic() < deadline, f"the last flow run is {run['state_type']}"
            time.sleep(0.1)


@dataclass(frozen=True)
class Sync:
    """One `entrepot sync`, timed: as a whole command and, as Prefect recorded it, inside its flow run. Seconds."""

    whole: float
    inside: float


def sync_command(source: str, name: str) -> list[str]:
    return [str(ENTREPOT), "sync", source, name, "--json"]


def sync_env(home: Path, prefect: Prefect | None) -> dict[str, str]:
    """The environment of a sync into `home`; without a Prefect server nothing records the run."""
    url = prefect.url if prefect else f"http://127.0.0.1:{free_port()}/api"
    return {"ENTREPOT_HOME": str(home), "ENTREPOT_PREFECT_API_URL": url}


def timed_command(stage: Stage, name: str, command: Sequence[str], env: dict[str, str]) -> float:
    """Seconds that a command takes from its start to its end; AssertionError with its output when it fails."""
    child = stage.children.add(name, command, env=env)
    start = time.perf_counter()
    child.start()
    code = child.wait(600)
    seconds = time.perf_counter() - start
    assert code == 0, child.tail()
    return seconds


def timed_sync(stage: Stage, source: str, name: str, home: Path, prefect: Prefect) -> Sync:
    """Run one sync."""
    whole = timed_command(stage, "sync", sync_command(source, name), sync_env(home, prefect))
    return Sync(whole, prefect.last_run_seconds())


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    return {"processor": model, "cores": os.cpu_count(), "python": sys.version.split()[0], "system": os.uname().release}


def write_results(folder: Path, results: dict[str, object], stamp: str) -> Path:
    """Keep the figures as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stamp}.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    return path
