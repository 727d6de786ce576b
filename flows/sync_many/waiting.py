"""What to do while chunks run: pure rules over the states of their flow runs."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from flows.recovery.orphans import MAX_ATTEMPTS
from flows.sync_many.chunk_runs import ChunkRun

STUCK_SECONDS = 60.0
"""After so long in which no worker does any of a run's chunks, the run does the first of them itself."""
FIRST_LOOK, LONGEST_LOOK = 0.5, 5.0


def pause_after(looks: int) -> float:
    """Return the seconds before another look, after so many."""
    return min(FIRST_LOOK * 1.3**looks, LONGEST_LOOK)


def is_given_up(run: ChunkRun) -> bool:
    """Return whether a run has crashed so often that it is started no more: what kills a worker's process would kill ours."""
    return run.state == "CRASHED" and run.attempts >= MAX_ATTEMPTS


def open_runs(runs: Iterable[ChunkRun]) -> list[ChunkRun]:
    """Return the runs that may still do something."""
    return [run for run in runs if not run.has_ended and not is_given_up(run)]


def find_stuck(runs: Iterable[ChunkRun], now: datetime, *, busy_at: datetime) -> ChunkRun | None:
    """Return a run to be taken over: nobody has worked on any for STUCK_SECONDS, `busy_at` being when somebody last did."""
    waiting = open_runs(runs)
    if any(run.is_working for run in waiting):
        return None
    late = [run for run in waiting if now - max(busy_at, run.since) > timedelta(seconds=STUCK_SECONDS)]
    return late[0] if late else None


def fault_of(run: ChunkRun) -> str:
    """Return why a repository of an ended run has no outcome."""
    if is_given_up(run):
        return f"the process of its chunk ended {run.attempts} times before its work was done"
    return f"its chunk ({run.name}) ended as {run.state_name or run.state}: {run.message}"
