"""Functions of ours that are killed at a line, each in a process forked from a server that has everything imported."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import FrameType
from typing import Any

RECORD = "record"
"""In the place of a line: kill nothing, and tell the lines."""


@dataclass
class Traced:
    """What such a function gets: it tells what it has acknowledged, and wraps what is to be killed in `with traced.lines():`."""

    files: tuple[str, ...]
    wanted: str
    told: Connection
    lines_seen: dict[str, None] = field(default_factory=dict)

    @contextmanager
    def lines(self) -> Iterator[None]:
        """Die by SIGKILL before the wanted line of one of the files, `local_store.py:12`."""
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.endswith(self.files):
            return None
        if event == "line":
            line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            if line == self.wanted:
                os.kill(os.getpid(), signal.SIGKILL)
            self.lines_seen[line] = None
        return self._trace


Act = Callable[[Path, Traced], None]


@dataclass(frozen=True)
class Ended:
    """How the process ended, what it told before, and the lines it came to, in their order, where it told them."""

    exitcode: int | None
    told: Sequence[str]
    lines: Sequence[str]


def run_killed(processes: ForkServerContext, act: Act, home: Path, files: tuple[str, ...], wanted: str) -> Ended:
    """Run a function over a home, to the end or to the wanted line."""
    receiving, sending = processes.Pipe(duplex=False)
    process = processes.Process(target=_run, args=(act, home, Traced(files, wanted, sending)))
    process.start()
    sending.close()
    told: list[str | list[str]] = []
    with receiving, suppress(EOFError):
        while True:
            told.append(receiving.recv())
    process.join()
    lines = told.pop() if told and isinstance(told[-1], list) else []
    return Ended(process.exitcode, [str(one) for one in told], list(lines))


def _run(act: Act, home: Path, traced: Traced) -> None:
    act(home, traced)
    if traced.wanted == RECORD:
        traced.told.send(list(traced.lines_seen))


def fork_server(preload: Sequence[str]) -> ForkServerContext:
    """Return what starts such processes; a second server of one run keeps what the first one has imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context
