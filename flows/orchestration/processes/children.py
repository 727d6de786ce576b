"""Child processes that `entrepot up` and ad hoc flows start: awaited, watched, and stopped in reverse order."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import flows
from flows.orchestration.processes.tether import tethered
from oci.errors import LocalError, SettingsInvalid

STOP_SECONDS = 10.0
_POLL = 0.05
_LOG_LINES = 15


class ProcessFailed(LocalError):
    """A process that is needed did not start, or ended."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process of ours; `name` is what messages call it, `log` holds what it has written."""

    name: str
    log: Path
    process: "subprocess.Popen[bytes]"
    is_restarted: bool = False
    """Whether whoever started it starts it again: its end is no reason for the others to end."""

    @property
    def has_ended(self) -> bool:
        """Return whether it has ended. It is not reaped by asking, so that its pid stays its own until its group is killed."""
        if self.process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def last_lines(self) -> str:
        """The end of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return "(no log)"
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:]) or "  (it wrote nothing)"

    def failure(self) -> ProcessFailed:
        """Return what to say when it ended by itself."""
        _kill_group(self)
        code = self.process.returncode
        return ProcessFailed(f"{self.name} ended with exit code {code}; {self.log} ends with:\n{self.last_lines()}")


class Processes:
    """Starts processes into a folder of logs; leaving it stops those that run, the last one first.

    Each leads a process group of its own, so that the terminal's Ctrl-C reaches only us, and is killed by the kernel if we
    are. Start them from the main thread, since the kernel takes the end of a thread for the end of its process.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.children: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        is_restarted: bool = False,
        append: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a command; its output goes to LOGS/NAME.log, begun anew unless `append` says otherwise.

        Its environment is ours and `env` on top, which takes a variable away by giving it as None. `pass_fds` stay open in it.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        values = {**os.environ, "PYTHONPATH": _python_path(), "PYTHONUNBUFFERED": "1", **(env or {})}
        with log.open("ab" if append else "wb") as output:
            process = subprocess.Popen(  # noqa: S603  # the commands are our own
                tethered(list(command)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in values.items() if value is not None},
                start_new_session=True,
                pass_fds=pass_fds,
            )
        child = Child(name, log, process, is_restarted)
        self.children.append(child)
        return child

    def wait_ready(self, child: Child, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until a child is ready; raise ProcessFailed when it, or another, ends, or time is up."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if child.has_ended:
                raise child.failure()
            self.check()
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"{child.name} was not ready after {seconds:.0f} s; {child.log} ends with:\n{child.last_lines()}"
                )
            time.sleep(_POLL)

    def check(self) -> None:
        """Raise ProcessFailed when a child has ended that nobody starts again."""
        for child in self.children:
            if not child.is_restarted and child.has_ended:
                raise child.failure()

    def forget(self, child: Child) -> None:
        """Reap a child that has ended, with what is left of its group."""
        _kill_group(child)
        self.children.remove(child)

    def stop(self) -> None:
        """Stop all children in reverse order: SIGTERM, and SIGKILL to the group of one that does not end in time."""
        while self.children:
            _stop(self.children[-1])
            self.children.pop()

    def kill(self) -> None:
        """Kill all children and what they started, at once."""
        for child in self.children:
            _kill_group(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except BaseException:
            self.kill()
            raise


def _stop(child: Child) -> None:
    if not child.has_ended:
        child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while not child.has_ended and time.monotonic() < deadline:
            time.sleep(_POLL)
    _kill_group(child)


def _kill_group(child: Child) -> None:
    """End what is left of a child's group, then reap the child; until then nobody else can have its pid."""
    if child.process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
    child.process.wait()


def _python_path() -> str:
    """Return where our packages lie, for children that start in another folder; before what the user has set."""
    root = str(Path(flows.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))


def check_port_is_free(host: str, port: int, *, what: str, change: str) -> None:
    """Raise SettingsInvalid, saying what would listen there and how to change it, where a port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsInvalid(
                f"{what} cannot listen on {host}:{port} ({error.strerror}); choose another by {change}"
            ) from None
