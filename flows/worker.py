"""`python -m flows.worker`: a Prefect worker of our work pool, each flow run in a process of its own."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from prefect.workers.process import ProcessWorker

from flows.prefect_home import WORK_POOL


async def work(ready: Path | None) -> None:
    """Work until SIGTERM or SIGINT; `ready` is a file to make once flow runs are taken."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    worker = ProcessWorker(work_pool_name=WORK_POOL, create_pool_if_not_found=False)

    def started(text: str) -> None:
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # the log of this process
        if ready is not None:
            ready.touch()

    with contextlib.suppress(asyncio.CancelledError):
        await worker.start(printer=started)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
