"""When a chunk's process counts as dead: by its lock, its silence, or its worker; by the clock of whoever waits alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flows.recovery.orphans import MAX_ATTEMPTS, PENDING_SECONDS, SILENT_SECONDS
from flows.sync.request import SyncRequest
from flows.sync_many.chunk_runs import Beat, ChunkRun
from flows.sync_many.waiting import LOST_SECONDS, LifeSign, LifeSigns, count_done, fault_of, open_runs

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SYNCS = tuple(SyncRequest(remote=f"registry.example/app-{number}") for number in range(10))
RUN = ChunkRun("r", "chunk", "RUNNING", "Running", "", NOW - timedelta(days=3), 1, 1, SYNCS)


def is_lost(run: ChunkRun, *looks: tuple[float, LifeSign], every: float = 5.0) -> bool:
    """Whether a run is lost at the last of several looks, each after so many seconds; between them nothing changes."""
    signs, lost, last = LifeSigns(), list[ChunkRun](), looks[0]
    for seconds, sign in looks:
        for between in range(1, int((seconds - last[0]) / every)):
            signs.find_lost([run], {run.id: last[1]}, NOW + timedelta(seconds=last[0] + between * every))
        lost, last = signs.find_lost([run], {run.id: sign}, NOW + timedelta(seconds=seconds)), (seconds, sign)
    return bool(lost)


def sign(beat: str = "", *, is_held: bool | None = None) -> LifeSign:
    return LifeSign(RUN.since, beat, is_held)


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([(0.0, sign("a"))], False),  # however long ago its state was made, by the clock of another machine
        ([(0.0, sign("a")), (LOST_SECONDS, sign("a"))], False),
        ([(0.0, sign("a")), (LOST_SECONDS + 1, sign("a"))], True),
        ([(0.0, sign("a")), (LOST_SECONDS + 1, sign("b"))], False),
        ([(0.0, sign("a")), (LOST_SECONDS, sign("b")), (LOST_SECONDS + 9, sign("b"))], False),
        ([(0.0, sign("a", is_held=False))], True),
        ([(0.0, sign("a", is_held=True)), (LOST_SECONDS + 1, sign("a", is_held=True))], False),
        (
            [(0.0, sign("a", is_held=True)), (SILENT_SECONDS + 1, sign("a", is_held=True))],
            True,
        ),  # it is stopped, or hangs
    ],
)
def test_a_run_is_lost_once_its_process_is_dead_or_silent(looks: list[tuple[float, LifeSign]], expected: bool) -> None:
    assert is_lost(RUN, *looks) is expected


def test_silence_does_not_count_while_nobody_looked() -> None:
    silent = ((0.0, sign("a")), (LOST_SECONDS + 1, sign("a")))
    assert is_lost(RUN, *silent)
    assert not is_lost(RUN, *silent, every=1000.0)  # the server was away, for the process as for the run


def test_a_run_that_does_not_begin_is_lost_later_whatever_its_last_process_left() -> None:
    pending, left = replace(RUN, state="PENDING"), sign(is_held=False)
    assert not is_lost(pending, (0.0, left), (PENDING_SECONDS, left))
    assert is_lost(pending, (0.0, left), (PENDING_SECONDS + 1, left))


@pytest.mark.parametrize("state", ["CRASHED", "FAILED"])
def test_a_broken_run_is_lost_until_it_was_started_too_often(state: str) -> None:
    broken = replace(RUN, state=state)
    assert LifeSigns().find_lost([broken], {}, NOW) == open_runs([broken]) == [broken]
    given_up = replace(broken, attempts=MAX_ATTEMPTS)
    assert LifeSigns().find_lost([given_up], {}, NOW) == open_runs([given_up]) == []
    assert fault_of(given_up)


def test_a_run_that_waits_or_has_ended_is_not_lost() -> None:
    waiting = [replace(RUN, state=state) for state in ("SCHEDULED", "COMPLETED", "CANCELLED")]
    assert LifeSigns().find_lost(waiting, {}, NOW) == []


def test_what_is_done_is_counted_by_beats_and_by_ends() -> None:
    runs = [replace(RUN, id="a"), replace(RUN, id="b", state="COMPLETED"), replace(RUN, id="c")]
    assert count_done(runs, {"a": Beat("x", 40.0)}) == 14
    taken_over = replace(RUN, state="CANCELLED", state_name="TakenOver")
    assert count_done([taken_over], {}) == 0  # whoever did it counts it
