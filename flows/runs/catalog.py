"""The catalogue for as long as a flow needs it; opening and closing it may take disk, so both are done on threads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from catalog.catalog import Catalog, open_catalog
from catalog.settings import Settings, read_settings


@asynccontextmanager
async def opened_catalog(settings: Settings | None = None) -> AsyncIterator[Catalog]:
    """Open the catalogue of these settings, by default those of the environment."""
    catalog = await asyncio.to_thread(open_catalog, settings or read_settings())
    try:
        yield catalog
    finally:
        await asyncio.to_thread(catalog.close)
