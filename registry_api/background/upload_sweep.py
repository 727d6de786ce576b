"""Deletes expired upload sessions."""

import asyncio
import logging

from oci.errors import EntrepotError
from registry_api.context import Registry

log = logging.getLogger("registry_api")
_SHORTEST, _LONGEST = 1.0, 3600.0


async def sweep_uploads(registry: Registry) -> None:
    """Delete expired upload sessions, for ever: ten times within the time that a session may be idle."""
    pause = min(max(registry.catalog.settings.upload_expiry / 10, _SHORTEST), _LONGEST)
    while True:
        try:
            dropped = await registry.threads.run(registry.catalog.uploads.sweep, registry.now().timestamp())
            if dropped:
                log.info("swept upload sessions dropped=%d", dropped)
        except (EntrepotError, OSError) as error:
            log.error("sweeping upload sessions failed error=%s", error)  # noqa: TRY400
        await asyncio.sleep(pause)
