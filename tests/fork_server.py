"""Starts processes of ours without importing everything anew: forks them from one process that has imported it already.

Each is a process as `python -m MODULE` makes one: a pid, an environment, a folder, output and signals of its own, and the same
end. Only the imports of other people's packages are shared; our own modules are imported by each process. Not shared are:

- packages that start threads when they are imported (duckdb, pyarrow): a fork keeps none;
- Prefect's settings: Prefect is out of sight until a process imports it, and reads the environment then.

`python -m tests.fork_server FD` is the server; FD is one end of a socket pair, and its end is the server's.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import IO, Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
MODULES = frozenset({"cli.main", "registry_api", "flows.orchestration.servers.server", "flows.orchestration.worker"})
"""What is started here; anything else is started as any process is."""

# One more line is imported with each of the first starts, so that a single test does not pay for all of it.
STAGES: Sequence[Sequence[str]] = (
    ("typer", "httpx", "pydantic_settings", "filelock", "yaml", "argon2", "nacl.signing", "semver", "rich.progress"),
    ("fastapi", "uvicorn", "uvloop", "httptools", "cryptography.x509", "cryptography.hazmat.primitives.asymmetric.rsa"),
    (
        "prefect.flows",
        "prefect.flow_engine",
        "prefect.artifacts",
        "prefect.concurrency.asyncio",
        "prefect.events.worker",
    ),
    ("prefect.server.api.server", "prefect.workers.process"),
)
_HIDDEN = "prefect"
_REPORT = 5
"""Bytes of a report: `p` and the pid when it has started, `e` and the exit code when it has ended."""


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that the interpreter reads when it starts, which a forked process cannot change."""
    prefixes = ("PYTHON", "LD_", "MALLOC_", "LC_", "LANG")
    return {name: value for name, value in env.items() if name.startswith(prefixes)}


class ForkedProcess:
    """A process that was forked, as far as `subprocess.Popen` of it is needed."""

    def __init__(self, args: Sequence[str], pid: int, report: socket.socket) -> None:
        self.args, self.pid, self._report = list(args), pid, report
        self.returncode: int | Any = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it ends; subprocess.TimeoutExpired after `timeout` seconds."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is not None:
            return self.returncode
        self._report.settimeout(seconds)
        try:
            told = self._report.recv(_REPORT)
        except (BlockingIOError, TimeoutError):
            return None
        self._report.close()
        self.returncode = int.from_bytes(told[1:], signed=True) if told else -signal.SIGKILL
        return self.returncode


class ForkServer:
    """The process that forks, from this side; it is started with the first process that it forks, in today's environment."""

    def __init__(self, log: Path) -> None:
        self._log, self._env = log, dict(os.environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def can_start(self, command: Sequence[str], env: Mapping[str, str]) -> bool:
        """Whether a command is one of those that are forked, and the interpreter would start alike in this environment."""
        known = list(command[:2]) == [sys.executable, "-m"] and command[2] in MODULES
        return known and _read_at_start(env) == _read_at_start(self._env)

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: IO[Any] | int,
        stdout: IO[Any],
        stderr: IO[Any],
        start_new_session: bool = False,
    ) -> ForkedProcess:
        """Start a command with this environment and no variable else; it keeps the three files only."""
        control = self._connected()
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile("w+") as request, theirs, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            text = {"args": list(command[2:]), "env": dict(env), "cwd": str(cwd), "leads": start_new_session}
            json.dump(text, request)
            request.flush()
            files = [nothing if stdin == subprocess.DEVNULL else stdin, stdout, stderr]
            numbers = [file if isinstance(file, int) else file.fileno() for file in (request, *files)]
            socket.send_fds(control, [b"f"], [theirs.fileno(), *numbers])
        told = ours.recv(_REPORT)
        assert told[:1] == b"p", f"{command} did not start: {self._log} may say why"
        return ForkedProcess(command, int.from_bytes(told[1:]), ours)

    def _connected(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            with theirs, self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env=self._env,
                    cwd=ROOT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._control

    def close(self) -> None:
        """End the server; what it has forked goes on."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(15)
            self._control = self._process = None


# --- the server ------------------------------------------------------------------------------------------------


@dataclass
class _Hidden(MetaPathFinder, Loader):
    """Keeps modules that are imported already out of sight until the package is imported, and has it read its settings then."""

    modules: dict[str, ModuleType] = field(default_factory=dict)
    specs: dict[str, ModuleSpec | None] = field(default_factory=dict)

    def hide(self) -> None:
        """Take the package out of sight, and have it forget that it has set up logging."""
        if configuration := sys.modules.get(f"{_HIDDEN}.logging.configuration"):
            configuration.PROCESS_LOGGING_CONFIG.clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == _HIDDEN]:
            self.modules[name] = sys.modules.pop(name)
        if self.modules and self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def show(self) -> None:
        """Bring it back, for more of it to be imported."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        sys.modules.update(self.modules)
        self.modules.clear()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find the package alone; its other modules are there once it is."""
        return ModuleSpec(fullname, self, is_package=True) if fullname == _HIDDEN and self.modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the package as it was imported."""
        package = self.modules[spec.name]
        self.specs[spec.name] = package.__spec__
        return package

    def exec_module(self, module: ModuleType) -> None:
        """Bring all of it back, with settings and logging from the environment as it is now."""
        module.__spec__ = self.specs.pop(module.__name__)
        self.show()
        sys.modules[f"{_HIDDEN}.context"].refresh_global_settings_context()
        sys.modules[f"{_HIDDEN}.logging.configuration"].setup_logging()


def _serve(control: socket.socket) -> list[str]:
    """Fork what is asked for and report how it ends; return, in each forked process, what it is to run."""
    stages, hidden = list(STAGES), _Hidden()
    reports: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _events in selector.select():
                if key.data is not None:
                    selector.unregister(key.fd)
                    _report_end(key.fd, key.data, reports.pop(key.fd))
                    continue
                _told, numbers, _flags, _address = socket.recv_fds(control, 1, 5)
                if not numbers:
                    sys.exit(0)
                _import_more(stages, hidden)
                report = socket.socket(fileno=numbers[0])
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    for number, other in reports.items():
                        os.close(number)
                        other.close()
                    control.close()
                    return _become(report, numbers[1:])
                for number in numbers[1:]:
                    os.close(number)
                watched = os.pidfd_open(pid)
                reports[watched] = report
                selector.register(watched, selectors.EVENT_READ, pid)


def _import_more(stages: list[Sequence[str]], hidden: _Hidden) -> None:
    if stages:
        hidden.show()
        with mock.patch("logging.config.dictConfig"):  # Prefect sets logging up when it is imported
            for name in stages.pop(0):
                importlib.import_module(name)
        hidden.hide()
        gc.collect()
        gc.freeze()  # what is shared stays shared: the collector of a forked process does not touch it


def _report_end(watched: int, pid: int, report: socket.socket) -> None:
    os.close(watched)
    _pid, status = os.waitpid(pid, 0)
    with report, contextlib.suppress(OSError):  # nobody may wait for it any more
        report.send(b"e" + os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))


def _become(report: socket.socket, numbers: Sequence[int]) -> list[str]:
    """Make this process what was asked for; return its module and arguments."""
    with os.fdopen(numbers[0]) as file:
        file.seek(0)
        request = json.load(file)
    for target, number in enumerate(numbers[1:]):
        os.dup2(number, target)
        os.close(number)
    if request["leads"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    with report:
        report.send(b"p" + os.getpid().to_bytes(4))
    return list(request["args"])


if __name__ == "__main__":
    sys.argv = _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
