"""Several serving processes on one listening socket, and the supervisor that replaces those that die."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from oci.errors import EntrepotError
from registry_api.server.logs import set_up_logging
from registry_api.server.process import ServerOptions, run_server

log = logging.getLogger("registry_api")

_STOP_WITHIN = 10.0
"""Seconds the processes get to end before they are killed."""

_PAUSE = 1.0
"""Seconds before a process that died is replaced, so that one that cannot live does not eat the machine."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: SpawnProcess
    ready: Connection
    lifeline: Connection
    """Closed by the system when this process dies, whatever it died of: the worker ends then."""

    def close(self) -> None:
        self.ready.close()
        self.lifeline.close()


class Workers:
    """Starts processes and replaces those that die; leaving the context stops them all."""

    def __init__(self, options: ServerOptions, listener: socket.socket, count: int) -> None:
        self._options, self._listener = options, listener
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._workers = [self._start() for _ in range(count)]

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ready, says_ready = context.Pipe(duplex=False)
        held, lifeline = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(self._options, self._listener, says_ready, held))
        process.start()
        says_ready.close()
        held.close()
        return _Worker(process, ready, lifeline)

    def request_stop(self) -> None:
        """Make `watch` return; may be called by a signal handler."""
        os.write(self._waker, b"x")

    def watch(self, announce: Callable[[], None]) -> int:
        """Call `announce` once all are ready, replace those that die; return the exit code when told to stop.

        A process that dies before all were ready once ends the whole: it could not start, and said why.
        """
        starting = [worker.ready for worker in self._workers]
        while starting:
            sentinels = [worker.process.sentinel for worker in self._workers]
            for event in wait([self._wake, *sentinels, *starting]):
                if event == self._wake:
                    return 0
                if not isinstance(event, Connection) or not _is_ready(event):
                    log.error("a serving process could not start")
                    return 1
                starting.remove(event)
        announce()
        while True:
            running = {worker.process.sentinel: worker for worker in self._workers}
            for event in wait([self._wake, *running]):
                if event == self._wake:
                    return 0
                if isinstance(event, int):
                    self._replace(running[event])

    def _replace(self, dead: _Worker) -> None:
        dead.process.join()
        log.error("a serving process died pid=%s exitcode=%s", dead.process.pid, dead.process.exitcode)
        dead.close()
        time.sleep(_PAUSE)
        self._workers[self._workers.index(dead)] = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        deadline = time.monotonic() + _STOP_WITHIN
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.close()
        os.close(self._wake)
        os.close(self._waker)


def _is_ready(pipe: Connection) -> bool:
    try:
        return bool(pipe.recv())
    except EOFError:
        return False


def _work(options: ServerOptions, listener: socket.socket, ready: Connection, held: Connection) -> None:
    """Serve in a worker process; exit with an error's message."""
    set_up_logging(options.settings)
    try:
        run_server(options, listener, lambda: ready.send(os.getpid()), parent=held)
    except EntrepotError as error:
        sys.exit(f"error: {error}")


def run_workers(options: ServerOptions, listener: socket.socket, count: int, announce: Callable[[], None]) -> int:
    """Serve with `count` processes until SIGTERM or SIGINT; return the exit code."""
    with Workers(options, listener, count) as workers:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: workers.request_stop())
        return workers.watch(announce)
