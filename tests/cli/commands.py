"""Runs the command `entrepot` as its own process, and asks a Prefect server what it has recorded."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.servers import Child, Children, answers, free_port, run_command, wait_until

COMMAND = (sys.executable, "-m", "cli.main")


@dataclass
class Entrepot:
    """The command over one home; `env` is on top of the test's environment."""

    home: Path
    children: Children
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever its exit code."""
        return run_command([*COMMAND, *arguments], env=self._environment(env))

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What it prints with --json; its exit code must be `code`."""
        done = self(*arguments, "--json")
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """Start it in the background, as the leader of a process group."""
        return self.children.start("command", [*COMMAND, *arguments], env=self._environment(env))

    def _environment(self, env: Mapping[str, str] | None) -> dict[str, str]:
        return {"ENTREPOT_HOME": str(self.home), **self.env, **(env or {})}


def ask_prefect(port: int, auth: tuple[str, str] | None, method: str, path: str, body: object = None) -> Any:
    """Return what Prefect's API on a port answers; ask again while its SQLite is busy (503), as Prefect's own clients do."""
    answers = list[httpx.Response]()

    def is_answered() -> bool:
        answers.append(client.request(method, path, json=body))
        return answers[-1].status_code != 503

    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api", trust_env=False, timeout=60, auth=auth) as client:
        wait_until(is_answered, 60, f"{method} {path} is answered")
    answer = answers[-1].raise_for_status()
    return answer.json() if answer.content else None


@dataclass(frozen=True)
class PrefectServer:
    """A running Prefect server of ours, without its UI."""

    child: Child
    port: int
    home: Path
    login: str = ""

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def auth(self) -> tuple[str, str] | None:
        """The login, for httpx."""
        user, colon, password = self.login.partition(":")
        return (user, password) if colon else None

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return what its API answers; `path` begins with a slash."""
        return ask_prefect(self.port, self.auth, method, path, body)

    def filter(self, what: str, **body: object) -> list[dict[str, Any]]:
        """POST /WHAT/filter."""
        return list(self.ask("POST", f"/{what}/filter", body))

    def flow_run(self, run_id: str) -> dict[str, Any]:
        """One flow run."""
        return self.filter("flow_runs", flow_runs={"id": {"any_": [run_id]}})[0]

    def task_runs(self, run_id: str) -> list[dict[str, Any]]:
        """The tasks of a flow run."""
        return self.filter("task_runs", flow_runs={"id": {"any_": [run_id]}})

    def artifacts(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The artifacts of a flow run, by type."""
        found = self.filter("artifacts", artifacts={"flow_run_id": {"any_": [run_id]}})
        return {artifact["type"]: artifact for artifact in found}


def save_prefect_database(server: PrefectServer, file: Path) -> None:
    """Copy the database of a running server as it is now."""
    with closing(sqlite3.connect(server.home / "prefect.db")) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)


def give_prefect_database(home: Path, file: Path) -> Path:
    """Give a new home the database of its Prefect server, which else makes one at its first start; return the home."""
    (home / "prefect").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    database = home / "prefect" / "prefect.db"
    database.touch(mode=0o600)
    database.write_bytes(file.read_bytes())
    return home


def start_prefect(
    children: Children,
    folder: Path,
    *,
    login: str = "",
    env: Callable[[int], Mapping[str, str | None]] = lambda _port: {},
) -> PrefectServer:
    """Start a Prefect server over a database of its own, and await it; `env` gives its environment for a port."""
    port, home = free_port(), folder / "prefect"
    child = children.start(
        "prefect",
        [sys.executable, "-m", "flows.orchestration.servers.server", str(port), "--api-only"],
        env={
            "PREFECT_HOME": str(home),
            **{name: value for name, value in env(port).items() if value is not None and name != "PREFECT_HOME"},
        },
    )
    child.wait_ready(lambda: answers(f"http://127.0.0.1:{port}/api/health"), seconds=240)
    return PrefectServer(child, port, home, login)
