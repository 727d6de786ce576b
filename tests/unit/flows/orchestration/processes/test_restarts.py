"""A process that ends is started again after pauses that grow, and the others go on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.orchestration.processes.children import Child, Processes, ProcessFailed
from flows.orchestration.processes.restarts import STEADY_SECONDS, Restarted, restart_pause


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as made:
        yield made


def test_pauses_grow_and_are_bounded() -> None:
    assert [restart_pause(number) for number in (1, 2, 3, 7, 1000)] == [1.0, 2.0, 4.0, 60.0, 60.0]


def test_it_is_started_again_after_its_pause_and_a_long_life_is_forgiven(processes: Processes) -> None:
    clock, said, starts = Clock(), list[str](), list[bool]()

    def start(again: bool) -> Child:
        starts.append(again)
        code = f"print('start {len(starts)}'); import sys; sys.exit(7)"
        return processes.start("part", [sys.executable, "-c", code], is_restarted=True, append=again)

    kept = Restarted(processes, start, said.append, clock=clock)
    log = kept.child.log
    for failures, pause in ((1, 1), (2, 2), (3, 4)):
        kept.child.process.wait()
        kept.tend()  # notices
        processes.check()  # nobody else has to end
        assert said[-1].startswith(f"part ended with exit code 7; it is started again in {pause} s")
        clock.now += pause - 0.1
        kept.tend()
        assert len(starts) == failures
        clock.now += 0.1
        kept.tend()
        assert len(starts) == failures + 1
    clock.now += STEADY_SECONDS
    kept.child.process.wait()
    kept.tend()
    assert said[-1].startswith("part ended with exit code 7; it is started again in 1 s")
    assert starts == [False, True, True, True]
    assert log.read_text() == "start 1\nstart 2\nstart 3\nstart 4\n"


def test_one_that_does_not_come_up_at_all_is_told(processes: Processes) -> None:
    child = processes.start("part", [sys.executable, "-c", "print('no'); raise SystemExit(3)"], is_restarted=True)
    with pytest.raises(ProcessFailed, match="part ended with exit code 3"):
        processes.wait_ready(child, lambda: False, seconds=30)
