"""Writes audit events, those of a second together."""

import asyncio
import itertools
import logging

from registry_api.context import Registry

log = logging.getLogger("registry_api")
_EVERY = 1.0
_TALLY_EVERY = 60
"""Rounds after which what gates have counted is looked at."""


async def write_events(registry: Registry) -> None:
    """Write the queued audit events, for ever."""
    for number in itertools.count(1):
        await asyncio.sleep(_EVERY)
        if number % _TALLY_EVERY == 0:
            registry.policy_gate.tally.flush()
        if registry.catalog.events.waits:
            await flush_events(registry)


async def flush_events(registry: Registry) -> None:
    """Write the queued audit events; those that cannot be written stay queued."""
    try:
        await registry.threads.commit(registry.catalog.events.flush, registry.now)
    except Exception as error:  # whatever it is, the next ones are to be written
        log.exception("writing audit events failed; they are kept and tried again error=%s", error)  # noqa: TRY401
