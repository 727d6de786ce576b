"""What is told of a flow run while it runs: to a Prefect server, or to nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from flows.console.events import ConsoleEvent

StateType = Literal["RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CRASHED"]
Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class RecordedState:
    """A state of a flow run or a task run, as Prefect names them."""

    type: StateType
    message: str = ""
    name: str = ""

    @property
    def shown_name(self) -> str:
        """Return the name that people see."""
        return self.name or self.type.capitalize()


class Record(Protocol):
    """Takes what happens in a run. Nothing of it waits for a server, and nothing of it fails the run."""

    @property
    def flow_run_id(self) -> str:
        """Return the id by which others find the run; empty where nobody does."""
        ...

    def log(self, level: int, text: str, created: float, task_run_id: str) -> None:
        """Take a line of the log, written at a Unix time."""
        ...

    def begin_task(self, key: str, name: str) -> str:
        """Take the begin of one of the tasks of a key; return its id. Without a name it is named after the key."""
        ...

    def set_task_state(self, task_run_id: str, state: RecordedState) -> None:
        """Take a later state of a task."""
        ...

    def keep_table(self, key: str, rows: Rows, description: str) -> None:
        """Take the table of a result."""
        ...

    def keep_report(self, key: str, text: str, description: str) -> None:
        """Take a report in Markdown."""
        ...

    def show_progress(self, percent: float, description: str) -> None:
        """Take how far the run is."""
        ...

    def emit(self, event: "ConsoleEvent") -> None:
        """Take an event."""
        ...


class UnrecordedRun:
    """The record of a run that nobody records."""

    flow_run_id = ""

    def log(self, level: int, text: str, created: float, task_run_id: str) -> None:
        """Drop it."""

    def begin_task(self, key: str, name: str) -> str:  # noqa: ARG002  # as Record has it
        """Drop it; no task has an id."""
        return ""

    def set_task_state(self, task_run_id: str, state: RecordedState) -> None:
        """Drop it."""

    def keep_table(self, key: str, rows: Rows, description: str) -> None:
        """Drop it: a command prints its result."""

    def keep_report(self, key: str, text: str, description: str) -> None:
        """Drop it: a command prints its result."""

    def show_progress(self, percent: float, description: str) -> None:
        """Drop it: a command shows its progress."""

    def emit(self, event: "ConsoleEvent") -> None:
        """Drop it: nobody waits for events of Prefect's."""
