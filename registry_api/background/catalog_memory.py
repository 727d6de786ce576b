"""Gives back, each minute, memory of DuckDB that grows with the number of commits."""

import asyncio
import logging

from registry_api.context import Registry

log = logging.getLogger("registry_api")
_EVERY = 60.0


async def give_back_memory(registry: Registry) -> None:
    """Have the catalogue give back memory, for ever."""
    while True:
        await asyncio.sleep(_EVERY)
        try:
            await registry.threads.run(registry.catalog.give_back_memory)
        except Exception as error:  # whatever it is, memory is to be given back the next time
            log.exception("giving back memory of the catalogue failed error=%s", error)  # noqa: TRY401
