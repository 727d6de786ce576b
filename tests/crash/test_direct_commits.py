"""`kill -9` of a process that commits and of its worker: nothing acknowledged is lost, nothing is there twice or comes late.

`TEST_KILLS` sets how many kills there are of each kind; `make nightly` has a thousand of each.
"""

import fcntl
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import pytest

from catalog.lake.connection import Lake
from catalog.lake.direct.choice import DIRECT
from catalog.versions.change_feed import ChangeFeed
from tests.crash.direct_commits import commit_next, open_lake, sqlite_of
from tests.servers import ROOT, tool, wait_until

KILLS = int(os.environ.get("TEST_KILLS", "12"))


class Committers:
    """Starts processes that commit, by a fork each."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-m", "tests.crash.direct_commits", str(file)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, bufsize=1
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._ask: IO[str] = self._process.stdin
        self.lines: IO[str] = self._process.stdout
        self.acknowledged: list[int] = []

    def start(self) -> tuple[int, int]:
        """Return the process ids of a new one and of its worker; it commits from now on."""
        self._ask.write("go\n")
        return self.read_pid("pid"), self.read_pid("worker")

    def read_pid(self, what: str) -> int:
        while True:
            words = self.lines.readline().split()
            if words[0] == what:
                return int(words[1])
            if words[0].isdigit():
                self.acknowledged.append(int(words[0]))

    def read_commits(self, count: int) -> None:
        for _ in range(count):
            line = self.lines.readline()
            if line.strip().isdigit():
                self.acknowledged.append(int(line))

    def read_left(self, pid: int) -> None:
        """Read what a killed one has told."""
        self._ask.write("go\n")  # the next one's first line ends what came before
        while (words := self.lines.readline().split())[0] != "pid":
            if words[0].isdigit():
                self.acknowledged.append(int(words[0]))
        os.kill(int(words[1]), signal.SIGKILL)
        assert int(words[1]) != pid

    def close(self) -> None:
        self._ask.close()
        self._process.wait(30)
        self.lines.close()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    opened = open_lake(tmp_path / "catalog.sqlite", direct=False)
    yield opened
    opened.close()


@pytest.fixture
def committers(lake: Lake) -> Iterator[Committers]:
    started = Committers(lake.file)
    yield started
    started.close()


def check(lake: Lake, acknowledged: list[int]) -> None:
    versions = [int(str(row[0])) for row in lake.read("SELECT version FROM records WHERE kind = 'version' ORDER BY 1")]
    assert versions == list(range(1, len(versions) + 1)), "a number twice, or one left out"
    assert set(acknowledged) <= set(versions)
    assert len(acknowledged) == len(set(acknowledged))
    tags = [row[0] for row in lake.read("SELECT tag FROM records WHERE kind = 'tag' ORDER BY version")]
    assert tags == [f"t{number}" for number in versions], "half of a commit"
    ids, rows = lake.read("SELECT count(DISTINCT rowid), count(*) FROM records")[0]
    assert ids == rows == 2 * len(versions)
    counted = lake.read(
        "SELECT record_count, next_row_id FROM __ducklake_metadata_lake.ducklake_table_stats JOIN "
        "__ducklake_metadata_lake.ducklake_table USING (table_id) WHERE table_name = 'records'"
    )
    assert counted == [(rows, rows)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_process_leaves_what_it_acknowledged_and_nothing_comes_after_the_next_commit(
    lake: Lake, committers: Committers
) -> None:
    """The next one commits at once, while the dead one's worker may still have a request."""
    chance, own = random.Random(3), list[int]()
    for _ in range(KILLS):
        pid, worker = committers.start()
        committers.read_commits(chance.randrange(3))
        time.sleep(chance.random() * 0.02)  # a moment within a commit, not an event that could be awaited
        os.kill(pid, signal.SIGKILL)
        own.append(commit_next(lake))
        committers.read_left(pid)
        wait_for_end(worker)
        check(lake, [*committers.acknowledged, *own])
    lake.flush("records")
    check(lake, [*committers.acknowledged, *own])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_killed_worker_is_not_noticed_by_who_commits(lake: Lake, committers: Committers) -> None:
    chance = random.Random(4)
    pid, worker = committers.start()
    for _ in range(KILLS):
        committers.read_commits(1 + chance.randrange(3))
        time.sleep(chance.random() * 0.02)
        os.kill(worker, signal.SIGKILL)
        worker = committers.read_pid("worker")
    os.kill(pid, signal.SIGKILL)
    committers.read_left(pid)
    wait_for_end(worker)
    assert len(committers.acknowledged) > KILLS
    check(lake, committers.acknowledged)


def wait_for_end(pid: int) -> None:
    """Wait for a process that is another one's child."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        assert select.select([descriptor], [], [], 30)[0], f"worker {pid} outlives its parent"
        os.close(descriptor)


def test_a_request_of_a_dead_process_is_refused_once_another_has_taken_the_lock(
    lake: Lake, committers: Committers
) -> None:
    pid, worker = committers.start()
    committers.read_commits(1)
    os.kill(worker, signal.SIGSTOP)
    while lake.sequence.value % 2 == 0:  # it commits: the request is in the pipe, or will be
        committers.read_commits(0)
    wait_until_asleep(pid)
    os.kill(pid, signal.SIGKILL)
    number = commit_next(lake)
    os.kill(worker, signal.SIGCONT)
    wait_for_end(worker)
    committers.read_left(pid)
    check(lake, [*committers.acknowledged, number])
    assert commit_next(lake) == number + 1


def wait_until_asleep(pid: int) -> None:
    """Wait until a process reads from the pipe of its worker."""
    deadline = time.monotonic() + 30
    while "pipe_read" not in Path(f"/proc/{pid}/wchan").read_text() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_who_takes_the_lock_over_waits_for_the_dead_ones_worker(lake: Lake) -> None:
    commit_next(lake)
    sqlite_of(lake).sequence.begin()  # as one that died within a commit leaves it
    taken = threading.Event()

    def commit() -> None:
        commit_next(lake)
        taken.set()

    with lake.file.with_suffix(".worker.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the worker does while it writes
        thread = threading.Thread(target=commit)
        thread.start()
        assert not taken.wait(0.5)
    assert taken.wait(30)
    thread.join()
    check(lake, [1, 2])


def test_each_direct_commit_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    tool("strace")
    lake, trace = open_lake(tmp_path / "catalog.sqlite"), tmp_path / "trace"
    lake.worker.start()
    assert lake.worker.is_ready(wait=30)
    calls = "pwrite64,fdatasync,fsync,write"
    command = ["strace", "-y", "-p", str(lake.worker.pid), "-e", f"trace={calls}", "-o", str(trace)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        numbers = [commit_next(lake) for _ in range(5)]
        lake.close()
        tracer.stderr.read()
    assert numbers == [1, 2, 3, 4, 5]
    steps = [
        re.sub(r".*?(pwrite64|fdatasync|write)\(\d+<([^>]*)>.*", r"\1 \2", line)
        for line in trace.read_text().splitlines()
    ]
    told = "".join(
        "w" if step.startswith("pwrite64") and step.endswith("-wal") else
        "s" if step.startswith("fdatasync") and step.endswith("-wal") else
        "t" if step.startswith("write pipe") else "" for step in steps
    )  # fmt: skip
    begun = "tw+s?w+st"  # told that it begins; written, with the log's own head once; synced; acknowledged
    assert re.fullmatch(f"(?:{begun}){{5}}s?", told), told


def test_the_worker_ends_with_its_parent_and_loads_no_duckdb(tmp_path: Path) -> None:
    lake = open_lake(tmp_path / "catalog.sqlite")
    lake.worker.start()
    assert lake.worker.is_ready(wait=30)
    assert commit_next(lake) == 1
    assert lake.commit_counts == {DIRECT: 1}
    pid = lake.worker.pid
    assert pid is not None
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "duckdb" not in maps
    assert "sqlite" in maps
    lake.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_who_reads_while_a_dead_ones_worker_still_writes_reads_again(lake: Lake) -> None:
    """What the worker commits then moves no counter: the one who takes over moves it, after the worker."""
    commit_next(lake)
    reader = open_lake(lake.file, direct=False)
    feed = ChangeFeed(reader)
    is_current: list[bool] = []

    def plan_under_the_lock() -> None:
        with lake.write():
            is_current.append(feed.is_current())

    sqlite_of(lake).sequence.begin()  # as one that died within a commit leaves it
    with lake.file.with_suffix(".worker.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the worker does while it writes
        assert not lake.heal_sequence()
        thread = threading.Thread(target=plan_under_the_lock)
        thread.start()
        wait_until(lambda: lake.sequence.value % 2 == 1 and lake._writer != 0, 20, "it takes the lock over")
        feed.acknowledge(feed.read())
        assert is_current == []
    thread.join()
    assert is_current == [False]
    reader.close()


def test_a_lock_that_was_taken_to_heal_is_given_back_whatever_happens(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_of(lake).sequence.begin()

    def refuse(*, wait: bool) -> bool:
        raise OSError(24, f"too many open files, waiting: {wait}")

    monkeypatch.setattr(lake.worker, "take_over", refuse)
    with pytest.raises(OSError, match="too many open files"):
        lake.heal_sequence()
    monkeypatch.undo()
    other = open_lake(lake.file, direct=False)
    assert commit_next(other) == 1
    other.close()
    assert commit_next(lake) == 2


def test_a_worker_is_asked_whatever_number_its_descriptors_have(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    lake = open_lake(tmp_path / "catalog.sqlite")
    with ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(Path("/dev/null").open())
        lake.worker.start()
        assert lake.worker.is_ready(wait=30)
        assert commit_next(lake) == 1
    lake.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert lake.commit_counts == {DIRECT: 1}
