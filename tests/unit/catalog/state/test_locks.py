"""Locks by name: in a file and in PostgreSQL; and that those who wait hold no connection each."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.settings import Settings
from catalog.state.locks import open_locks
from catalog.state.shared_state import SharedState
from oci.digest import Digest
from registry_api.fetch_locks import FetchLocks
from registry_api.http.threads import Threads
from tests.postgresql import PostgresServer
from tests.servers import ROOT
from tests.unit.catalog.state.test_documents import END_LISTENERS

DIGEST = Digest.of(b"x")


_HOLD = """
import sys
from pathlib import Path
from catalog.settings import read_settings
from catalog.state.locks import open_locks
from catalog.state.shared_state import open_state
home = Path(sys.argv[1])
locks = open_locks(home / "locks", open_state(read_settings(home=home)), "fetch")
print(locks.try_lock("a"), flush=True)
sys.stdin.readline()
locks.unlock("a")
print("given back", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_process(settings: Settings) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the lock `a`: it gives it back when it is sent a line."""
    settings.root.mkdir(exist_ok=True)
    command = [sys.executable, "-c", _HOLD, str(settings.root)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_another_process_waits_until_it_is_given_back(
    settings: Settings, open_process: Callable[[], SharedState | None], other_process: "subprocess.Popen[str]"
) -> None:
    locks = open_locks(settings.root / "locks", open_process(), "fetch")
    assert not locks.try_lock("a")
    assert locks.try_lock("b"), "another name is free"
    assert other_process.stdin is not None
    assert other_process.stdout is not None
    other_process.stdin.write("give it back\n")
    other_process.stdin.flush()
    assert other_process.stdout.readline() == "given back\n"
    assert locks.try_lock("a")


def test_a_process_that_is_killed_gives_its_locks_back(
    settings: Settings, open_process: Callable[[], SharedState | None], other_process: "subprocess.Popen[str]"
) -> None:
    locks = open_locks(settings.root / "locks", open_process(), "fetch")
    threads = Threads()

    async def wait() -> None:
        async with FetchLocks(locks, threads).hold("team/app", DIGEST):
            assert not await threads.run(locks.try_lock, "a")
            other_process.kill()
            while not await threads.run(locks.try_lock, "a"):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.05)

    try:
        asyncio.run(asyncio.wait_for(wait(), 20))
    finally:
        threads.close()


# --- in PostgreSQL alone ---


def test_many_that_wait_hold_one_connection_and_get_it_in_turn(
    open_shared: Callable[..., SharedState], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    holder, waiter = open_shared(), open_shared()
    name = holder.database.address.database
    threads = Threads()
    digests = [Digest.of(bytes([number])) for number in range(30)]

    def sessions() -> int:
        rows = postgres_server.execute(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")
        return int(str(rows[0][0]))

    async def run() -> int:
        mine = open_locks(tmp_path / "locks", holder, "fetch")
        its = FetchLocks(open_locks(tmp_path / "locks", waiter, "fetch"), threads)
        got: list[Digest] = []

        async def fetch(digest: Digest) -> None:
            async with its.hold("team/app", digest):
                got.append(digest)

        async with asyncio.TaskGroup() as group:
            for digest in digests:
                assert await threads.run(mine.try_lock, f"team/app@{digest}")
            before = sessions()
            tasks = [group.create_task(fetch(digest)) for digest in digests]
            await asyncio.sleep(0.6)
            most = sessions() - before
            assert got == []
            holder.locks.close()
            await asyncio.wait(tasks, timeout=10)
        assert len(got) == len(digests)
        return most

    try:
        assert asyncio.run(run()) <= 1
    finally:
        threads.close()


def test_who_is_cancelled_while_asking_leaves_no_lock_behind(
    open_shared: Callable[..., SharedState], tmp_path: Path
) -> None:
    one, other = (open_locks(tmp_path / "locks", open_shared(), "fetch") for _ in range(2))
    threads = Threads()

    async def run() -> None:
        for pause in (0.0, 0.0001, 0.0005, 0.001, 0.003) * 4:

            async def fetch() -> None:
                async with FetchLocks(one, threads).hold("team/app", DIGEST):
                    await asyncio.sleep(10)

            task = asyncio.create_task(fetch())
            await asyncio.sleep(pause)
            task.cancel()
            await asyncio.wait([task])
            assert await threads.run(other.try_lock, f"team/app@{DIGEST}")
            await threads.run(other.unlock, f"team/app@{DIGEST}")

    try:
        asyncio.run(run())
    finally:
        threads.close()


def test_locks_go_on_after_the_server_has_ended_the_connection(
    open_shared: Callable[..., SharedState], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    states = open_shared(), open_shared()
    one, other = (open_locks(tmp_path / "locks", state, "fetch") for state in states)
    assert one.try_lock("a")
    postgres_server.execute(END_LISTENERS.format(states[0].database.address.database))
    assert other.try_lock("a"), "what a lost connection held is free"
    one.unlock("a")
    assert not one.try_lock("a"), "and not given back by who held it before"
    assert one.try_lock("b")
