"""The background tasks of webhooks: they run in one of all serving processes, the one that is elected."""

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from catalog.settings import Settings
from catalog.state.elections import Election, open_election
from catalog.webhooks.cloud_events import event_source
from oci.errors import EntrepotError
from registry_api.context import Registry
from registry_api.webhooks.context import Webhooks
from registry_api.webhooks.flow_runs import HookRuns, follow_hooks
from registry_api.webhooks.subscribers import SubscriberDeliveries, follow_commits

if TYPE_CHECKING:
    from catalog.webhooks.delivery import Receivers

log = logging.getLogger("registry_api")
_LOOK_EVERY = 0.25
"""Seconds between two looks for new events: at a file's date, and at a counter in memory."""
_RETRY_EVERY = 2.0
"""Seconds between two tries to be elected, after the elected process has died."""
_ASK_EVERY = 0.5
"""Seconds between two questions whether this process is elected still."""
_ANSWER_WITHIN = 3.0
"""Seconds after which no answer is a no: the server ends the session of a silent machine later, and only then elects another."""


class _ElectionLost(Exception):  # nobody is told of it
    """Another process may be elected by now."""


async def run_event_tasks(registry: Registry, webhooks: Webhooks) -> None:
    """Start flow runs and notify subscribers for ever, as soon as and as long as this process is the elected one."""
    with suppress(EntrepotError):  # later looks tell it
        await registry.threads.run(lambda: webhooks.records)  # the first look may wait
    election = open_election(registry.catalog.settings, registry.catalog.state, "events")
    while True:
        try:
            await _await_election(registry, election)
            async with asyncio.TaskGroup() as group:
                group.create_task(_run_elected(registry, webhooks))
                if election.may_be_lost:
                    group.create_task(_watch(election))
        except* _ElectionLost:
            log.warning("another process may deliver events by now; this one waits for its turn")
        finally:
            await asyncio.to_thread(election.resign)


async def _run_elected(registry: Registry, webhooks: Webhooks) -> None:
    settings = registry.catalog.settings
    async with AsyncExitStack() as stack:
        runs = HookRuns(registry, webhooks)
        stack.push_async_callback(runs.close)
        subscribers = SubscriberDeliveries(
            registry, webhooks, lambda: _open_receivers(settings), event_source(settings)
        )
        stack.push_async_callback(subscribers.close)
        await asyncio.gather(
            follow_hooks(runs, webhooks, every=_LOOK_EVERY), follow_commits(subscribers, every=_LOOK_EVERY)
        )


def _open_receivers(settings: Settings) -> "Receivers":
    """Return the clients for receivers; on a thread, for it loads the HTTP client, which a registry without subscribers saves."""
    from catalog.webhooks.delivery import open_receivers

    return open_receivers(settings)


async def _await_election(registry: Registry, election: Election) -> None:
    failed = False
    while True:
        try:
            if await registry.threads.run(election.try_win):
                return
            failed = False
        except EntrepotError as error:
            if not failed:
                log.warning("electing a process for events failed; retrying error=%s", error)
            failed = True
        await asyncio.sleep(_RETRY_EVERY)


async def _watch(election: Election) -> None:
    """Raise _ElectionLost as soon as this process is not known to be elected; the other threads may all be waiting."""
    while True:
        await asyncio.sleep(_ASK_EVERY)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                is_won = await asyncio.to_thread(election.is_won)
        except TimeoutError:
            is_won = False
        if not is_won:
            raise _ElectionLost
