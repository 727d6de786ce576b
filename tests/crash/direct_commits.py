"""A process that makes commits until it is killed; run as `python -m tests.crash.direct_commits CATALOG`.

It answers each line on stdin with a fork of itself, which tells `pid PID`, `worker PID` and then the number of each commit that
is acknowledged. A fork is quicker than a new start, so that many can be killed.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from catalog.lake.connection import Lake
from catalog.lake.metadata.sqlite import SqliteMetadata

REPOSITORY = "team/app"


def sqlite_of(lake: Lake) -> SqliteMetadata:
    """Return the metadata of a lake in a SQLite file."""
    assert isinstance(lake.metadata, SqliteMetadata)
    return lake.metadata


def open_lake(file: Path, *, direct: bool = True) -> Lake:
    return Lake(file, memory="200MB", threads=1, lock_timeout=60, direct_commits=direct, worker_after=0)


def commit_next(lake: Lake) -> int:
    """Make the version after the newest, as a committer does: planned under the lock on what is there then; return its number."""
    with lake.write() as writer:
        number = int(str(lake.read("SELECT coalesce(max(version), 0) FROM records")[0][0])) + 1
        version = {
            "repository": REPOSITORY, "version": number, "action": "add", "kind": "version",
            "operation_id": f"{os.getpid()}-{number}", "created_at": datetime.now(UTC),
        }  # fmt: skip
        writer.append("records", [version, {**version, "kind": "tag", "tag": f"t{number}"}])
        writer.describe("somebody", "writes", versions={REPOSITORY: range(number, number + 1)})
    return number


def start_worker(lake: Lake) -> None:
    """Start a worker now, whenever the last one was started, and tell its process id."""
    sqlite_of(lake).worker._started_at = -60
    lake.worker.start()
    while not lake.worker.is_ready(wait=1):
        pass
    print("worker", lake.worker.pid, flush=True)


def commit_until_killed(file: Path) -> None:
    print("pid", os.getpid(), flush=True)
    lake = open_lake(file)
    start_worker(lake)
    while True:
        print(commit_next(lake), flush=True)
        if lake.worker.pid is None:  # killed
            start_worker(lake)


def main(file: str) -> None:
    for _ in sys.stdin:
        if os.fork() == 0:
            sys.stdin.close()
            commit_until_killed(Path(file))


if __name__ == "__main__":
    main(*sys.argv[1:])
