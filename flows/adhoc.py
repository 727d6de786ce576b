"""Runs a flow from the command line: on the Prefect server that answers, else on one of our own for as long as it takes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from filelock import FileLock

from catalog.prefect_address import PrefectAddress, known_addresses, make_login
from catalog.settings import Settings
from flows.prefect_home import is_answering, prefect_environment, quiet_environment, set_environment
from flows.prefect_process import PrefectProcess, loopback_socket
from flows.processes import Processes
from flows.progress import Progress, watched

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

R = TypeVar("R")
T = TypeVar("T")

SERVER_SECONDS = 90.0
DRAIN_SECONDS = 5.0

Show = Callable[[Progress], Coroutine[None, None, None]]
"""Shows a progress until it is cancelled."""


def find_api(settings: Settings) -> PrefectAddress | None:
    """A Prefect API that answers: that of a running `entrepot up` of this home, else the one that was set."""
    return next((api for api in known_addresses(settings) if is_answering(api.url)), None)


@contextmanager
def prefect_api(settings: Settings, *, debug: bool = False) -> Iterator[Callable[[], None]]:
    """Point this process to a Prefect API. Call what is given once the API is needed: it waits until it answers.

    A server of our own is started meanwhile where none answers, and stopped at the end; it keeps its record in HOME/prefect.
    """
    api = find_api(settings)
    if api is not None:
        _use_api(settings, api, debug=debug)
        yield lambda: None
        return
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Two servers that make or migrate one database at the same time would disturb each other.
    starting = FileLock(settings.root / "prefect.lock", timeout=SERVER_SECONDS)
    with loopback_socket() as listening, Processes(settings.root / "logs") as processes, starting:
        server = PrefectProcess(settings, listening, make_login(), api_only=True)
        _use_api(settings, PrefectAddress(server.api_url, server.login), debug=debug)
        child = server.start(processes, "prefect-adhoc")

        def wait() -> None:
            processes.wait_ready(child, lambda: is_answering(server.api_url), seconds=SERVER_SECONDS)
            starting.release()

        try:
            yield wait
        finally:
            _send_what_is_left()


def _send_what_is_left() -> None:
    """Let Prefect send its last logs and events while the server is there; at exit it would try for half a minute."""
    if "prefect.logging.handlers" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (APILogWorker, EventsWorker):
        service.drain_all(timeout=DRAIN_SECONDS)


def _use_api(settings: Settings, api: PrefectAddress, *, debug: bool) -> None:
    set_environment({**prefect_environment(settings, api), **quiet_environment(debug=debug)})


async def run_flow(flow: Callable[[R], Awaitable["T | State[T]"]], request: R, show: Show | None = None) -> T:
    """Run a flow in this process; return its result, raise what it raises. `show` is given the progress while it runs."""
    progress = Progress()
    watched.set(progress)
    shown = asyncio.create_task(show(progress)) if show else None
    try:
        return cast("T", await flow(request))
    finally:
        if shown:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
