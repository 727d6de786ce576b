"""`python -m flows.orchestration.worker [READY] [--reap]`: a Prefect worker of our pool; each flow run has its own process."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.workers.process import ProcessWorker

from catalog.settings import read_settings
from flows.orchestration.servers.home import WORK_POOL
from flows.recovery.reaper import Reaper
from flows.recovery.run_locks import locks_folder


async def work(ready: Path | None, *, reap: bool = False) -> None:
    """Work until SIGTERM or SIGINT; `ready` is a file to make once flow runs are taken.

    `reap` ends orphaned runs of ours, for a server that is not ours and does not do so itself.
    """
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    worker = ProcessWorker(work_pool_name=WORK_POOL, create_pool_if_not_found=False)

    def started(text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # the log of this process
        if ready is not None:
            ready.touch()

    reaping = asyncio.create_task(_reap()) if reap else None
    with contextlib.suppress(asyncio.CancelledError):
        await worker.start(printer=started)
    if reaping:
        reaping.cancel()


async def _reap() -> None:
    async with get_client() as client:

        async def ask(method: str, path: str, body: object) -> Any:
            return (await client.request(method, path, json=body)).json()  # type: ignore[arg-type]  # its paths are an enumeration

        await Reaper(ask, locks_folder(read_settings()), own=False).run()


if __name__ == "__main__":
    files = [argument for argument in sys.argv[1:] if argument != "--reap"]
    asyncio.run(work(Path(files[0]) if files else None, reap="--reap" in sys.argv))
