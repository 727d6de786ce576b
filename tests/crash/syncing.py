"""One sync, without Prefect, as a process that a test kills: forked from a server that has everything imported."""

import asyncio

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.sync.request import SyncRequest
from tests.mirror import synced


def sync(home: str, remote: str, operation_id: str) -> None:
    """Mirror a remote into a home, under the id that every try of one flow run has."""
    request = SyncRequest(remote=remote, mode="mirror", batch_size=8)
    with open_catalog(read_settings(home=home)) as catalog:
        asyncio.run(synced(catalog, request, operation_id=operation_id))
