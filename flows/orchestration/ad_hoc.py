"""Points a command's process to a Prefect server: the one that answers, else one of our own for as long as it takes."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock

from catalog.prefect_address import PrefectAddress, known_addresses, make_login
from catalog.settings import Settings
from flows.orchestration.home import (
    check_login,
    is_answering,
    prefect_environment,
    prepare_home,
    quiet_environment,
    set_environment,
)
from flows.orchestration.processes import Processes
from flows.orchestration.restarts import Restarted
from flows.orchestration.server_process import PrefectProcess, loopback_socket

SERVER_SECONDS = 90.0
RESTART_SECONDS = 20.0
DRAIN_SECONDS = 5.0
_LOOK_SECONDS = 1.0

Say = Callable[[str], None]


def find_api(settings: Settings) -> PrefectAddress | None:
    """A Prefect API that answers: that of a running `entrepot up` of this home, else the one that was set."""
    return next((api for api in known_addresses(settings) if _answers(api)), None)


def _answers(api: PrefectAddress) -> bool:
    """Return whether an API answers; the home's own running one is given the time that its next start takes."""
    deadline = time.monotonic() + (RESTART_SECONDS if api.login else 0.0)
    while not (found := is_answering(api.url)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@dataclass(slots=True)
class UsedApi:
    """The Prefect API that this process uses; `answers` is what the last look at it said.

    `server` is ours, and started again when it ends; None for one that others look after.
    """

    url: str
    patience: float
    wait: Callable[[], None] = lambda: None
    server: Restarted | None = None
    answers: bool = True

    async def lost(self) -> None:
        """Watch the server; return once it has not answered for longer than it may be away."""
        away_since: float | None = None
        while away_since is None or time.monotonic() - away_since < self.patience:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.server is not None:
                self.server.tend()
            self.answers = await asyncio.to_thread(is_answering, self.url, timeout=5.0)
            if self.answers:
                away_since = None
            elif away_since is None:
                away_since = time.monotonic()


@contextmanager
def prefect_api(settings: Settings, *, say: Say, debug: bool = False) -> Iterator[UsedApi]:
    """Point this process to a Prefect API. Call its `wait` once it is needed: that waits until it answers.

    A server of our own is started meanwhile where none answers, and stopped at the end; it keeps its record in HOME/prefect.
    """
    prepare_home(settings)
    api = find_api(settings)
    if api is not None:
        check_login(api, os.environ)
        _use_api(settings, api, debug=debug)
        yield UsedApi(api.url, settings.prefect_timeout)
        return
    # Two servers that make or migrate one database at the same time would disturb each other.
    starting = FileLock(settings.root / "prefect.lock", timeout=SERVER_SECONDS)
    with loopback_socket() as listening, Processes(settings.root / "logs") as processes, starting:
        server = PrefectProcess(settings, listening, make_login(), api_only=True)
        _use_api(settings, PrefectAddress(server.api_url, server.login), debug=debug)
        kept = Restarted(processes, lambda again: server.start(processes, "prefect-adhoc", again=again), say)

        def wait() -> None:
            processes.wait_ready(kept.child, lambda: is_answering(server.api_url), seconds=SERVER_SECONDS)
            starting.release()

        used = UsedApi(server.api_url, settings.prefect_timeout, wait, kept)
        try:
            yield used
        finally:
            if used.answers:
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
    logging.raiseExceptions = (
        debug  # else Prefect writes on the terminal that its server takes no logs; the command says it
    )
    set_environment({**prefect_environment(settings, api), **quiet_environment(debug=debug)})
