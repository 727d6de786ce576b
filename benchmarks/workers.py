"""How long one command takes to sync many repositories from an upstream that is far away, with 1, 2 and 4 workers."""

import json
import re
import sys
from collections.abc import Iterator, Sequence

import httpx

from benchmarks.rows import Row
from benchmarks.stage import Prefect, Stage, sync_env
from benchmarks.syncing import far, relayed
from tests.servers import answers, free_port, wait_until

_POOL_WORKERS = "/work_pools/entrepot/workers/filter"
_CLI = [sys.executable, "-m", "cli.main"]


def worker_rows(stage: Stage, *, repositories: int, workers: Sequence[int], delay: float) -> Iterator[Row]:
    """Sync so many tiny repositories, all of them new and then unchanged, each time into a new home with a new server."""
    port = free_port()
    upstream = [sys.executable, "-m", "benchmarks.tiny_upstream", str(port), str(repositories)]
    stage.children.start("tiny", upstream).wait_ready(lambda: answers(f"http://127.0.0.1:{port}/v2/"))
    host = relayed(stage, port, delay)
    times = {count: _times(stage, host, count) for count in workers}
    alone = times[workers[0]]
    for place, what in enumerate(("first", "unchanged")):
        for count in workers:
            who = "1 worker" if count == 1 else f"{count} workers"
            name = f"{what} sync of {repositories:,} repositories, upstream {far(delay)}, {who}"
            peer = (alone[place],) if count != workers[0] else ()
            yield Row(
                name, "s", (times[count][place],), peer, None, "less", "peer: one worker, which is no more than the run"
            )


def _times(stage: Stage, host: str, count: int) -> tuple[float, float]:
    """Seconds of a first and of an unchanged sync, inside the flow."""
    prefect = stage.prefect(f"prefect-{count}")  # workers of another round count as there for a while
    env = sync_env(stage.folder / f"workers-{count}", prefect)
    started = [stage.children.start("worker", [*_CLI, "worker"], env=env) for _ in range(count)]
    wait_until(lambda: _online(prefect) == count, 180, f"{count} workers are there")
    seconds = _sync(stage, host, env), _sync(stage, host, env)
    for child in (*started, prefect.child):  # the next round has the machine for itself
        child.stop()
    return seconds


def _online(prefect: Prefect) -> int:
    answer = httpx.post(f"{prefect.url}{_POOL_WORKERS}", json={}, trust_env=False)
    return len(answer.json()) if answer.status_code == 200 else 0


def _sync(stage: Stage, host: str, env: dict[str, str]) -> float:
    command = stage.children.start("sync-many", [*_CLI, "sync-many", f"{host}/**", "--json"], env=env)
    assert command.wait(1800) == 0, command.tail()
    output = command.output()  # notes come before the result, and after it
    begins = re.search(r"^\{", output, re.MULTILINE)
    assert begins is not None, output
    result, _end = json.JSONDecoder().raw_decode(output, begins.start())
    return float(result["seconds"])
