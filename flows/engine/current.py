"""The flow run that code is within: who it is, where its log goes, and which try of a task this is."""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from flows.engine.record import Record, UnrecordedRun
from flows.engine.slots import RunSlots

if TYPE_CHECKING:
    LogAdapter = logging.LoggerAdapter[logging.Logger]
else:
    LogAdapter = logging.LoggerAdapter


class DirectRun:
    """A flow run that this process runs itself. `id` is what a version is made once for; `record` is told of the run.

    The id is no server's: one that gave the id of an earlier run would have this one find its versions made.
    Its log goes to the record, and to `handlers`.
    """

    def __init__(
        self, slots: RunSlots, record: Record | None = None, handlers: tuple[logging.Handler, ...] = ()
    ) -> None:
        self.slots, self.record = slots, record or UnrecordedRun()
        self.id = str(uuid4())
        self.logger = logging.Logger("entrepot.flow_runs", logging.INFO)  # noqa: LOG001  # of this run: nobody finds it by name
        for handler in (RecordHandler(self.record), *handlers):
            self.logger.addHandler(handler)


class RecordHandler(logging.Handler):
    """Passes lines of a log on to the record of a run."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one line on, with the task that wrote it."""
        self._record.log(record.levelno, record.getMessage(), record.created, getattr(record, "task_run_id", ""))


class TaskLog(LogAdapter):
    """The log of a run as one task writes it."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the task's id."""
        extra: Mapping[str, object] = self.extra or {}
        return msg, {**kwargs, "extra": dict(extra)}


_run: ContextVar[DirectRun | None] = ContextVar("direct_run", default=None)
_task: ContextVar[tuple[str, int]] = ContextVar("direct_task", default=("", 1))
"""The id of the task run, and which try it is; the first is 1."""


def direct_run() -> DirectRun | None:
    """Return the run that this process runs itself; None within a run of Prefect's engine, and outside of runs."""
    return _run.get()


@contextmanager
def within_run(run: DirectRun) -> Iterator[None]:
    """Make what is done meanwhile part of a run."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


@contextmanager
def within_task(task_run_id: str, number: int) -> Iterator[None]:
    """Make what is done meanwhile part of one try of a task."""
    token = _task.set((task_run_id, number))
    try:
        yield
    finally:
        _task.reset(token)


def run_id() -> str:
    """Return the id of the flow run: what a version is made once for."""
    if (run := _run.get()) is not None:
        return run.id
    from prefect.runtime import flow_run

    return str(flow_run.id)


def recorded_run_id() -> str:
    """Return the id by which Prefect knows the flow run; empty where nobody records it."""
    run = _run.get()
    return run_id() if run is None else run.record.flow_run_id


def try_number() -> int:
    """Return which try of the task this is; the first is 1. Outside of tasks it is 1 too."""
    if _run.get() is not None:
        return _task.get()[1]
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return context.task_run.run_count if context is not None else 1


def run_logger() -> "logging.Logger | logging.LoggerAdapter[Any]":
    """Return the log of the flow run."""
    if (run := _run.get()) is not None:
        task_run_id = _task.get()[0]
        return TaskLog(run.logger, {"task_run_id": task_run_id}) if task_run_id else run.logger
    from prefect import get_run_logger

    return get_run_logger()
