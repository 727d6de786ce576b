"""Sending events to Prefect. It never fails a flow: what was committed is committed."""

import logging
import sys
from collections.abc import Callable, Iterable

from catalog.settings import Settings
from catalog.versions.changes import Commit, CommitResult
from flows.console.events import ConsoleEvent, path_event, version_event
from flows.console.home_id import home_id
from flows.console.links import repository_page
from flows.engine.current import direct_run

log = logging.getLogger(__name__)


def tell_of_versions(settings: Settings) -> Callable[[Commit, CommitResult], None]:
    """Return what is to be called with each commit that made a version: it tells Prefect of it, within a flow run."""
    home = home_id(settings)

    def tell(commit: Commit, made: CommitResult) -> None:
        page = repository_page(settings, made.repository)
        send_event(version_event(commit, made, home=home, page=page))

    return tell


def tell_of_paths(settings: Settings, changed: Iterable[tuple[str, str, int]], *, run_id: str, host: str) -> None:
    """Tell Prefect of paths that a replication of `host` has changed: each with what became of it, and its version."""
    home = home_id(settings)
    for path, change, version in changed:
        page = repository_page(settings, path)
        send_event(path_event(path, change, version, run_id=run_id, host=host, home=home, page=page))


def send_event(one: ConsoleEvent) -> None:
    """Send an event of the flow run that this is part of; outside of one, nothing. A failure is logged."""
    if (run := direct_run()) is not None:
        run.record.emit(one)
        return
    if "prefect" not in sys.modules:
        return
    from prefect.context import FlowRunContext
    from prefect.events import emit_event

    if FlowRunContext.get() is None:
        return
    try:
        emit_event(one.event, resource=one.resource, related=one.related, payload=one.payload, id=one.id)
    except Exception as error:  # noqa: BLE001  # whatever it is, the version is made
        log.warning("no event for Prefect: %s", type(error).__name__)
