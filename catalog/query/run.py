"""Questions in SQL, each answered by a process of its own that can reach nothing but the catalogue and is ended when it takes
too much: a question can neither stop nor swell whoever asks, and the record of blobs held is opened by one SQLite library in each
process (docs/adr/0013-questions-in-sql.md).
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import catalog
from catalog.blobs.lake_data import lake_place
from catalog.query.package_views import NEEDS_INDEX
from catalog.query.question import Format, Limits, Question
from catalog.query.task import Task
from catalog.settings import Settings
from oci.errors import CatalogOutdated, CatalogUnavailable, CatalogUnusable, EntrepotError, QueryInvalid

_STARTING = 30.0
"""Seconds beyond its own limit after which a process is killed that has not ended: it starts, attaches and ends in them."""

_KINDS: Mapping[str, type[EntrepotError]] = {
    kind.__name__: kind for kind in (QueryInvalid, CatalogOutdated, CatalogUnavailable, CatalogUnusable)
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is complete: an open file at its beginning, which nobody else can find, and its rows. Close the file."""

    file: BinaryIO
    rows: int

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.file.fileno()).st_size


def limits_of(settings: Settings) -> Limits:
    """Return what the settings let a question take."""
    return Limits(
        settings.query_memory,
        settings.query_threads,
        settings.query_timeout,
        settings.query_max_rows,
        settings.query_max_size,
        settings.query_spill,
    )


class Asking:
    """One question on its way; leaving the context ends its process and removes its folder."""

    def __init__(
        self,
        settings: Settings,
        question: Question,
        limits: Limits,
        form: Format,
        *,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """Begin nothing yet; `prepare` brings the search index up to date, and is called where the question may need it."""
        self._folder = tempfile.TemporaryDirectory(
            prefix="entrepot-query-", dir=settings.query_folder, ignore_cleanup_errors=True
        )
        self._task = Task(lake_place(settings), Path(self._folder.name), question, limits, form)
        self._prepare = prepare
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._stopped = False

    def answer(self) -> Answer:
        """Ask, and wait; raise QueryInvalid, CatalogOutdated or CatalogUnusable."""
        if self._prepare is not None and may_need_index(self._task.question.sql):
            self._prepare()
        with self._guard:
            if self._stopped:
                raise QueryInvalid("the question was stopped")
            self._process = _start()
        late = threading.Timer(self._task.limits.timeout + _STARTING, self._process.kill)
        late.start()
        try:
            told = _ask(self._process, self._task.dump())
        finally:
            late.cancel()
        if "error" in told:
            raise _KINDS[str(told["kind"])](str(told["error"]))
        return Answer((self._task.folder / "answer").open("rb"), int(str(told["rows"])))

    def stop(self) -> None:
        """End the process, from any thread; who waits for the answer gets QueryInvalid."""
        with self._guard:
            self._stopped = True
            if self._process is not None and self._process.returncode is None:
                self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process.wait()
        self._folder.cleanup()


def may_need_index(sql: str) -> bool:
    """Return whether a statement may name what reads the search index: true for some that do not. Pure."""
    text = sql.lower()
    return any(name in text for name in NEEDS_INDEX)


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Return what the process gets of our environment: where to find programs and packages, for the rest holds secrets. Pure."""
    root = str(Path(catalog.__file__).resolve().parent.parent)
    return {"PYTHONPATH": root, "PYTHONSAFEPATH": "1", "PATH": ours.get("PATH", ""), "LANG": "C.UTF-8"}


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "catalog.query.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(os.environ),
        start_new_session=True,
    )


def _ask(process: "subprocess.Popen[bytes]", line: str) -> Mapping[str, object]:
    """Hand over the task and read what comes back; standard input stays open, for the process ends with it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass
    told = process.stdout.read()
    try:
        found: Mapping[str, object] = json.loads(told)
    except ValueError:
        code = process.wait()
        raise QueryInvalid(
            f"the query process ended early (exit code {code}): the query took more memory or time than it may "
            "have, or was stopped; narrow it"
        ) from None
    return found
