"""The background tasks of webhooks: they run in one of the serving processes, the one that holds the lock."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from catalog.settings import Settings
from catalog.webhooks.cloud_events import event_source
from registry_api.context import Registry
from registry_api.webhooks.context import Webhooks
from registry_api.webhooks.flow_runs import HookRuns, follow_hooks
from registry_api.webhooks.subscribers import SubscriberDeliveries, follow_commits

if TYPE_CHECKING:
    from catalog.webhooks.delivery import Receivers

_LOOK_EVERY = 0.25
"""Seconds between two looks for new events: at a file's date, and at a counter in memory."""
_RETRY_EVERY = 2.0
"""Seconds between two tries to take the lock, after its holder has died."""


async def run_event_tasks(registry: Registry, webhooks: Webhooks) -> None:
    """Start flow runs and notify subscribers for ever, as soon as no other process does."""
    settings = registry.catalog.settings
    async with AsyncExitStack() as stack:
        lock = await _await_lock(settings.root / "events.lock")
        stack.callback(lock.release)
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


async def _await_lock(file: Path) -> FileLock:
    lock = FileLock(file, timeout=0, thread_local=False)
    while True:
        try:
            lock.acquire()
        except Timeout:
            await asyncio.sleep(_RETRY_EVERY)
        else:
            return lock
