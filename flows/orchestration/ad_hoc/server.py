"""Points a command's process to a Prefect server: the one that answers, else one of our own for as long as it takes."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock

from catalog.prefect.address import PrefectAddress, make_login
from catalog.settings import Settings
from flows.direct.find_server import check_login, find_api, is_answering
from flows.orchestration.ad_hoc.used_api import Say, UsedApi
from flows.orchestration.processes.children import Processes
from flows.orchestration.processes.restarts import Restarted
from flows.orchestration.servers.home import prefect_environment, prepare_home, quiet_environment, set_environment
from flows.orchestration.servers.process import PrefectProcess, loopback_socket

SERVER_SECONDS = 90.0
DRAIN_SECONDS = 5.0


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
