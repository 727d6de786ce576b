"""Starts all background tasks of a process, and ends them in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from registry_api.background.audit_events import flush_events, write_events
from registry_api.background.catalog_memory import give_back_memory
from registry_api.background.shared_logins import report_shared_logins
from registry_api.background.upload_sweep import sweep_uploads
from registry_api.context import Registry
from registry_api.metrics.scrape import Scrape, leave_counts
from registry_api.v2.pull_counting import PullWriter
from registry_api.webhooks.background import run_event_tasks
from registry_api.webhooks.context import Webhooks


@asynccontextmanager
async def background_tasks(registry: Registry, webhooks: Webhooks, scrape: Scrape) -> AsyncIterator[None]:
    """Run the tasks within the context; on leaving, cancel them, then write the queued events and pull counts."""
    pulls = PullWriter(registry)
    tasks = [
        asyncio.create_task(task)
        for task in (
            sweep_uploads(registry),
            write_events(registry),
            report_shared_logins(registry),
            give_back_memory(registry),
            pulls.run(),
            run_event_tasks(registry, webhooks),
            leave_counts(scrape, registry),
        )
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        registry.policy_gate.tally.flush(is_end=True)
        await flush_events(registry)
        await pulls.close()
