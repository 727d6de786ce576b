"""What becomes of flow runs whose process has ended without a word: pure rules over values."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

MAX_ATTEMPTS = 3
"""How often the process of one run is started: one that kills its process each time is not started for ever."""
SILENT_SECONDS = 300.0
"""After so long without a heartbeat a run without a lock is given up; runs of ours send one each minute."""
PENDING_SECONDS = 120.0
"""After so long a run that a worker has taken, and that has not begun, is given up."""
CRASHED_SECONDS = 60.0
"""So long a crashed run of a deployment may still be started again; then it is over."""


class Fate(Enum):
    """What is done with a run."""

    CRASH = "crash"
    CANCEL = "cancel"
    STOP = "stop"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that its server takes for under way, or that its worker has seen crash.

    `has_process` is True or False for a run that has a lock in this home, else None; `heard_at` is when its server last heard
    of it, as far as that is known; `parent_is_over` says that the run that it belongs to has ended. `is_child`: it belongs to
    another run; with a deployment, it has a process of its own.
    """

    id: str
    name: str
    state: str
    since: datetime
    attempts: int
    has_deployment: bool
    is_child: bool = False
    has_process: bool | None = None
    heard_at: datetime | None = None
    parent_is_over: bool = False


def judge(run: OpenRun, now: datetime, *, listening_since: datetime) -> Fate | None:
    """Return what to do with a run; None for one that is alive, or of which too little is known yet.

    A child is never started again from here: its parent does so, or starts it anew.
    """
    if run.is_child and run.has_deployment:
        return _judge_chunk(run, now, listening_since) if run.parent_is_over and run.state != "CRASHED" else None
    if run.is_child:
        return Fate.CRASH if run.parent_is_over and run.state != "CRASHED" else None
    if run.state == "CRASHED":  # as its worker saw it; its lock says that nobody has looked at it since
        return Fate.AGAIN if run.has_process is False and _may_start_again(run) else None
    if not _is_orphan(run, now, listening_since):
        return None
    if run.state == "CANCELLING":
        return Fate.CANCEL
    return Fate.AGAIN if _may_start_again(run) else Fate.CRASH


def _judge_chunk(run: OpenRun, now: datetime, listening_since: datetime) -> Fate | None:
    """Return how a run with a process of its own ends once its parent is over: a living process is told to stop."""
    if run.state == "SCHEDULED" or _is_orphan(run, now, listening_since):
        return Fate.CANCEL
    return None if run.state == "CANCELLING" else Fate.STOP


def is_run_over(state: str, since: datetime, now: datetime, *, has_deployment: bool) -> bool:
    """Return whether nobody waits any longer for what belongs to a run, by its state and the time since when it has that.

    One of a deployment that has crashed may be started again for a while.
    """
    if state == "CRASHED" and has_deployment:
        return now - since > timedelta(seconds=CRASHED_SECONDS)
    return state in ("COMPLETED", "FAILED", "CANCELLED", "CANCELLING", "CRASHED")


def _may_start_again(run: OpenRun) -> bool:
    return run.has_deployment and run.attempts < MAX_ATTEMPTS


def _is_orphan(run: OpenRun, now: datetime, listening_since: datetime) -> bool:
    if run.has_process:
        return False
    if run.state == "PENDING":  # the process of an earlier attempt may have left its lock
        return now - run.since > timedelta(seconds=PENDING_SECONDS)
    if run.has_process is False:
        return True
    heard = max(filter(None, (run.since, run.heard_at, listening_since)))
    return now - heard > timedelta(seconds=SILENT_SECONDS)


def state_message(run: OpenRun, fate: Fate) -> str:
    """The message of the state that the run is given."""
    if fate is Fate.AGAIN:
        return f"the process of attempt {max(run.attempts, 1)} ended before its run did; it is started again"
    if run.is_child:
        return "the run that this one belongs to has ended"
    if fate is Fate.CRASH and run.has_deployment:
        return f"the process ended before its run did, in {run.attempts} attempts; run the deployment again when it is mended"
    return "the process ended before its run did; what it copied is kept, run the command again"
