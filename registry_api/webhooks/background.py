"""The two background tasks of events, in one of the serving processes: the one that has the lock."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from catalog.webhooks.cloud_events import source_of
from catalog.webhooks.delivery import open_receivers
from registry_api.context import Registry
from registry_api.webhooks.context import Webhooks
from registry_api.webhooks.flow_runs import HookDeliveries, follow_hooks
from registry_api.webhooks.subscribers import Tellings, follow_commits

_GLANCE = 0.25
"""Seconds between two glances at what may have come: a file's date, a counter in memory."""
_CANDIDATE = 2.0
"""Seconds between two tries to follow a process that has died."""


async def run_event_tasks(registry: Registry, webhooks: Webhooks) -> None:
    """Start runs and tell subscribers for ever, as soon as no other process does."""
    settings = registry.catalog.settings
    async with AsyncExitStack() as stack:
        lock = await _await_lock(settings.root / "events.lock")
        stack.callback(lock.release)
        deliveries = HookDeliveries(registry, webhooks)
        stack.push_async_callback(deliveries.close)
        tellings = Tellings(registry, webhooks, lambda: open_receivers(settings), source_of(settings))
        stack.push_async_callback(tellings.close)
        await asyncio.gather(follow_hooks(deliveries, webhooks, every=_GLANCE), follow_commits(tellings, every=_GLANCE))


async def _await_lock(file: Path) -> FileLock:
    lock = FileLock(file, timeout=0, thread_local=False)
    while True:
        try:
            lock.acquire()
        except Timeout:
            await asyncio.sleep(_CANDIDATE)
        else:
            return lock
