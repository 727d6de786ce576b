"""The worker's supervisor: starts the process that makes direct commits, asks it, and notices its death.

Call it while holding the catalogue's write lock; `take_over` belongs to taking that lock from a process that died.
"""

import fcntl
import logging
import os
import select
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import catalog
from catalog.lake.direct.append import Append
from catalog.lake.direct.columns import NotDirect
from catalog.lake.direct.messages import BEGUN, DONE, READY, encode_message, read_message, send

log = logging.getLogger("catalog")
_START = "import sys; sys.path.insert(0, sys.argv[1]); from catalog.lake.direct.worker import main; main(*sys.argv[2:])"
_RESTART_AFTER = 5.0
"""Seconds between two starts of a worker."""
_PATIENCE = 5.0
"""Seconds that a worker has to end by itself."""


class WorkerDied(Exception):
    """The worker died while it made a commit; `snapshot_id` is the one that may have landed, None when none can have."""

    def __init__(self, snapshot_id: int | None) -> None:
        super().__init__(f"the worker of direct commits died, snapshot {snapshot_id}")
        self.snapshot_id = snapshot_id


class Supervisor:
    """One process's worker; it is started by `start`, and after its death by the next commit but for a pause."""

    def __init__(
        self, file: Path, counter: Path, *, busy_timeout: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._busy_timeout = busy_timeout
        self._file, self._counter, self._lock = file, counter, file.with_suffix(".worker.lock")
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._finalizer: weakref.finalize[[subprocess.Popen[bytes]], Supervisor] | None = None
        self._ready = False
        self._started_at = -_RESTART_AFTER

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start a worker unless there is one, or was one a moment ago; it is not waited for."""
        now = self._monotonic()
        if self._process is not None or now - self._started_at < _RESTART_AFTER:
            return
        self._started_at = now
        root = Path(catalog.__file__).parents[1]
        places = (root, self._file.absolute(), self._lock.absolute(), self._counter.absolute())
        command = [sys.executable, "-I", "-S", "-c", _START, *map(str, places), str(self._busy_timeout)]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own module, by the interpreter that runs
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd="/"
            )
        except OSError as error:
            log.warning("cannot start the worker of direct commits: %s", error.strerror)
            return
        self._finalizer = weakref.finalize(self, _end, self._process)

    def is_ready(self, *, wait: float = 0) -> bool:
        """Return whether the worker can be asked; `wait`: seconds at most for one that has just been started."""
        if self._process is None:
            return False
        if self._ready:
            return True
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        poll = select.poll()  # which takes descriptors of any number
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(wait * 1000):
            return False
        self._ready = read_message(descriptor) == (READY,)
        if not self._ready:
            log.warning("the worker of direct commits ended as it started; DuckDB makes the commits")
            self.stop()
        return self._ready

    def commit(self, token: int, appends: list[Append], author: str, text: str, note: str) -> int:
        """Have a commit written; return its snapshot's number. Durable on return. `token` is the commit counter's value.

        Raises NotDirect when nothing was written and DuckDB has to, WorkerDied when the worker is no more. Whoever interrupts
        it ends the worker: what it was writing is there or not when this raises, and does not come later.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = [(one.table, one.columns, one.rows) for one in appends]
        snapshot_id: int | None = None
        try:
            send(self._process.stdin.fileno(), encode_message(token, told, author, text, note))
            while (answer := read_message(self._process.stdout.fileno())) is not None:
                if answer[0] == BEGUN:
                    snapshot_id = int(str(answer[1]))
                    continue
                if answer[0] == DONE:
                    return int(str(answer[1]))
                raise NotDirect(str(answer[1]))
        except NotDirect:
            raise
        except BrokenPipeError:
            pass
        except BaseException:
            self.stop(now=True)
            raise
        self.stop(now=True)
        raise WorkerDied(snapshot_id)

    def take_over(self, *, wait: bool = True) -> bool:
        """Wait until no worker writes for a process that died. Move the commit counter on before: then none begins either.

        Return False, with `wait` off, where one still writes.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)

    def stop(self, *, now: bool = False) -> None:
        """End the worker; `now`: kill it. It has ended on return."""
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return
        if self._finalizer is not None:
            self._finalizer.detach()
        if now:
            process.kill()
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
