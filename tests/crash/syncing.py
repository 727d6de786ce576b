"""One sync, without Prefect, as a process that a test kills: forked from a server that has everything imported."""

import asyncio
from datetime import UTC, datetime

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.upstreams import open_upstream
from flows.sync_job import SyncJob
from flows.sync_request import SyncRequest
from flows.sync_run import run_sync


def sync(home: str, remote: str, operation_id: str) -> None:
    """Mirror a remote into a home, under the id that every try of one flow run has."""

    async def whole() -> None:
        settings, request = read_settings(home=home), SyncRequest(remote=remote, mode="mirror", batch_size=8)
        with open_catalog(settings) as catalog:
            async with open_upstream(settings, catalog.remotes, request.upstream) as source:
                job = SyncJob(request, catalog, source, operation_id=operation_id, clock=lambda: datetime.now(UTC))
                await run_sync(job)

    asyncio.run(whole())
