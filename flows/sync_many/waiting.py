"""What to do while chunks run: pure rules over the states of their flow runs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flows.recovery.orphans import PENDING_SECONDS, SILENT_SECONDS
from flows.sync_many.chunk_runs import Beat, ChunkRun

STUCK_SECONDS = 60.0
"""After so long in which no worker does any of a run's chunks, the run does the first of them itself."""
BLIND_SECONDS = 30.0
"""After so long without a look, as of a server that was away, no silence counts that was before."""
LOST_SECONDS = 60.0
"""After so long without a sign of life, a run's process counts as dead; a living one gives a sign every two seconds."""
AGAIN_SECONDS = 5.0
"""Pause before a run is started again, times its attempts."""
FIRST_LOOK, LONGEST_LOOK = 0.5, 5.0


def pause_after(looks: int) -> float:
    """Return the seconds before another look, after so many."""
    return min(FIRST_LOOK * 1.3**looks, LONGEST_LOOK)


@dataclass(frozen=True, slots=True)
class LifeSign:
    """What a look has seen of a run that a worker has: anything else at the next look means that its process lives.

    `is_held` is whether its process holds the run's lock in this home; None: there is none here.
    """

    state_since: datetime
    beat: str = ""
    is_held: bool | None = field(default=None, compare=False)


class LifeSigns:
    """When each run last gave a sign of life, by the clock of whoever looks: clocks of other machines may differ."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[LifeSign, datetime]] = {}
        self._looked_at: datetime | None = None

    def find_lost(self, runs: Iterable[ChunkRun], signs: Mapping[str, LifeSign], now: datetime) -> list[ChunkRun]:
        """Return the runs whose process is dead: with a free lock, silent for too long, or broken."""
        if self._looked_at is not None and now - self._looked_at > timedelta(seconds=BLIND_SECONDS):
            self._seen.clear()
        self._looked_at = now
        return [run for run in runs if not run.is_given_up and self._is_lost(run, signs.get(run.id), now)]

    def _is_lost(self, run: ChunkRun, sign: LifeSign | None, now: datetime) -> bool:
        if run.is_broken:
            return True
        if not run.is_working or sign is None:
            return False
        last, since = self._seen.get(run.id, (sign, now))
        since = since if last == sign else now
        self._seen[run.id] = (sign, since)
        if run.state == "PENDING":  # an earlier process may have left its lock
            return now - since > timedelta(seconds=PENDING_SECONDS)
        if sign.is_held is False:
            return True
        return now - since > timedelta(seconds=SILENT_SECONDS if sign.is_held else LOST_SECONDS)


def open_runs(runs: Iterable[ChunkRun]) -> list[ChunkRun]:
    """Return the runs that may still do something."""
    return [run for run in runs if not run.has_ended and not run.is_given_up]


def count_done(runs: Iterable[ChunkRun], beats: Mapping[str, Beat]) -> int:
    """Return how many repositories have been done in all chunks."""
    done = 0
    for run in runs:
        if run.is_taken_over:
            continue
        percent = 100.0 if run.has_ended else beats[run.id].percent if run.id in beats else 0.0
        done += round(len(run.syncs) * percent / 100.0)
    return done


def find_stuck(runs: Iterable[ChunkRun], now: datetime, *, busy_at: datetime) -> ChunkRun | None:
    """Return a run to be taken over: nobody has worked on any for STUCK_SECONDS, `busy_at` being when somebody last did."""
    waiting = open_runs(runs)
    if any(run.is_working for run in waiting):
        return None
    late = [run for run in waiting if now - max(busy_at, run.since) > timedelta(seconds=STUCK_SECONDS)]
    return late[0] if late else None


def fault_of(run: ChunkRun) -> str:
    """Return why a repository of an ended run has no outcome."""
    if run.is_given_up and run.state == "CRASHED":
        return f"the process of its chunk ended {run.attempts} times before its work was done"
    return f"its chunk ({run.name}) ended as {run.state_name or run.state}: {run.message}"
