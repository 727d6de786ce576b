"""Pulls are counted with each manifest that goes out, and written for all together now and then, off the way of any pull."""

import asyncio
import logging
from collections.abc import Mapping

from catalog.catalog import Catalog
from catalog.lake.write_parts import write_in_parts
from catalog.pull_counts import PullCount, PullCounter, Pulled
from oci.digest import Digest
from registry_api.context import Registry

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
        refused = await registry.threads.commit(_record, registry.catalog, taken)
    except Exception as error:  # whatever it is, the next ones are to be written
        counter.give_back(taken)
        log.exception("writing pulls failed; they are kept and tried again error=%s", error)  # noqa: TRY401
        return
    if refused:
        counter.give_back(refused)
        log.error("pulls could not be written; they are kept and tried again count=%d", len(refused))


def _record(catalog: Catalog, taken: Mapping[Pulled, PullCount]) -> Mapping[Pulled, PullCount]:
    """Write counts; return those that are refused while others are not."""
    return dict(write_in_parts(list(taken.items()), lambda some: catalog.pulls.record(dict(some)))) if taken else {}
