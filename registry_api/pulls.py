"""Pulls are counted with each manifest that goes out, and written for all together now and then, off the way of any pull."""

import asyncio
import logging

from catalog.pulls import PullCounter
from oci.digest import Digest
from oci.errors import EntrepotError
from registry_api.registry import Registry

log = logging.getLogger("registry_api")


def note_pull(registry: Registry, repository: str, reference: str, digest: Digest) -> None:
    """Count one pull by tag or digest; half a microsecond."""
    registry.pulls.note(repository, "" if ":" in reference else reference, digest, registry.now())


class PullWriter:
    """Writes what was counted; what cannot be written is counted on, and tried with the next."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(self._registry.catalog.settings.pulls_flush_seconds)
            if self._registry.pulls:
                self._writing = asyncio.create_task(_write(self._registry, self._registry.pulls))
                await asyncio.shield(self._writing)  # being told to stop must not lose what was taken

    async def close(self) -> None:
        """Write the rest, after what is being written."""
        if self._writing is not None:
            await self._writing
        await _write(self._registry, self._registry.pulls)


async def _write(registry: Registry, counter: PullCounter) -> None:
    taken = counter.take()
    try:
        await registry.threads.commit(registry.catalog.record_pulls, taken)
    except (EntrepotError, OSError) as error:
        counter.give_back(taken)
        log.error("writing pulls failed; they are kept and tried again error=%s", error)  # noqa: TRY400
