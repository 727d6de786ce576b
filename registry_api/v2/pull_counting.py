"""Pull counts: each response with a manifest counts one; the counts are written together now and then, outside requests."""

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
    """Writes counts; counts that cannot be written are kept, and written with the next."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._writing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Write counts, for ever."""
        while True:
            await asyncio.sleep(self._registry.catalog.settings.pulls_flush_seconds)
            if self._registry.pulls:
                self._writing = asyncio.create_task(_write(self._registry, self._registry.pulls))
                await asyncio.shield(self._writing)  # a cancellation must not lose the counts

    async def close(self) -> None:
        """Write the remaining counts, after a write in progress."""
        if self._writing is not None:
            await self._writing
        await _write(self._registry, self._registry.pulls)


async def _write(registry: Registry, counter: PullCounter) -> None:
    counts = counter.take()
    try:
        refused = await registry.threads.commit(_record, registry.catalog, counts)
    except Exception as error:  # whatever it is, the next ones are to be written
        counter.give_back(counts)
        log.exception("writing pulls failed; they are kept and tried again error=%s", error)  # noqa: TRY401
        return
    if refused:
        counter.give_back(refused)
        log.error("pulls could not be written; they are kept and tried again count=%d", len(refused))


def _record(catalog: Catalog, counts: Mapping[Pulled, PullCount]) -> Mapping[Pulled, PullCount]:
    """Write counts; return those that were refused while others were not."""
    return dict(write_in_parts(list(counts.items()), lambda part: catalog.pulls.record(dict(part)))) if counts else {}
