"""What a sync would select, and why, without doing it."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from catalog.catalog import Catalog
from catalog.filters.tags import Selection
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings
from flows.sync.blend import BlendedUpstream, members_of, source_of
from flows.sync.job import SyncJob
from flows.sync.procedure import PLAIN, select
from flows.sync.request import SyncRequest
from flows.sync.tag_selection import choose_tags
from flows.sync.upstream_reader import Upstream


async def explain_sync(
    settings: Settings, catalog: Catalog | None, request: SyncRequest, *, now: datetime
) -> Selection:
    """Say which tags a sync would take and why, at the cost of one listing of each remote, and of reading what decides where
    content does.

    Companions are not looked for. Without a catalogue there are no records of remotes, and content cannot decide.
    """
    async with Upstreams(settings, catalog.remotes if catalog else None) as upstreams:
        source = await source_of(upstreams, request)
        if request.wanted.asks_content and catalog is not None:
            return await _explain_content(catalog, request, source, now)
        members = members_of(request, source)
        choices = [await choose_tags(one.request, partial(_list, one.source)) for one in members]
        return (source.take(choices) if isinstance(source, BlendedUpstream) else choices[0]).selection


async def _list(source: Upstream) -> Sequence[str]:
    return [tag async for tag in source.tags()]


async def _explain_content(catalog: Catalog, request: SyncRequest, source: Upstream, now: datetime) -> Selection:
    only_look = request.model_copy(update={"dry_run": True, "on_error": "skip"})
    job = SyncJob(only_look, catalog, source, operation_id="explain", clock=lambda: now)
    await select(job, PLAIN)
    return job.selection.with_dropped({tag: f"cannot be read: {reason}" for tag, reason in job.failed.items()})
