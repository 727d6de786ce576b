"""The catalogue for as long as a flow needs it; opening and closing it may take disk, so both are done on threads."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from catalog.catalog import Catalog, open_catalog
from catalog.settings import Settings, read_settings
from flows.engine.events import tell_of_versions


class CatalogAhead:
    """A catalogue that a thread opens while Prefect is still preparing the flow run that needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._is_taken, self._guard = settings, False, threading.Lock()
        self._pool = ThreadPoolExecutor(1, "catalog")
        self._opening = self._pool.submit(open_catalog, settings)

    def take(self, settings: Settings) -> Catalog | None:
        """Return the catalogue to the first who asks for one of these settings, else None; raise what opening it has raised."""
        with self._guard:
            if self._is_taken or settings != self._settings:
                return None
            self._is_taken = True
        return self._opening.result()

    def close(self) -> None:
        """Close the catalogue where nobody has taken it."""
        self._pool.shutdown()
        with self._guard:
            is_left, self._is_taken = not self._is_taken, True
        if is_left and self._opening.exception() is None:
            self._opening.result().close()


_ahead: ContextVar[CatalogAhead | None] = ContextVar("catalog_ahead", default=None)


@contextmanager
def catalog_ahead(settings: Settings) -> Iterator[CatalogAhead | None]:
    """Begin to open the catalogue for the next flow run of this process; close it in the end where none has taken it.

    One that is not there is not made: what only looks at an upstream leaves no home behind.
    """
    if not settings.has_catalog:
        yield None
        return
    opening = CatalogAhead(settings)
    token = _ahead.set(opening)
    try:
        yield opening
    finally:
        _ahead.reset(token)
        opening.close()


@asynccontextmanager
async def opened_catalog(settings: Settings | None = None) -> AsyncIterator[Catalog]:
    """Open the catalogue of these settings, by default those of the environment."""
    catalog = await asyncio.to_thread(open_for_run, settings or read_settings())
    try:
        yield catalog
    finally:
        await asyncio.to_thread(catalog.close)


def open_for_run(settings: Settings) -> Catalog:
    """Open the catalogue for a flow run, which tells Prefect of each version that it makes."""
    ahead = _ahead.get()
    catalog = (ahead and ahead.take(settings)) or open_catalog(settings)
    catalog.commits.on_version = tell_of_versions(settings)
    return catalog
