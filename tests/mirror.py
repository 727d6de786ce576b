"""A sync into a home in one call, without Prefect: for tests that are about what happens before or after it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.upstreams import open_upstream
from flows.sync_job import SyncJob
from flows.sync_report import SyncResult
from flows.sync_request import SyncRequest
from flows.sync_run import run_sync


def mirror(home: Path, remote: str, **fields: object) -> SyncResult:
    """Sync a remote into the catalogue of a home."""
    settings = read_settings(home=home)
    request = SyncRequest.model_validate({"remote": remote, **fields})

    async def run() -> SyncResult:
        with open_catalog(settings) as catalog:
            async with open_upstream(settings, request.upstream) as source:
                job = SyncJob(request, catalog, source, operation_id=uuid4().hex, clock=lambda: datetime.now(UTC))
                return await run_sync(job)

    return asyncio.run(run())
