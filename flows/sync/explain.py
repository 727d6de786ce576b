"""What a sync would select, and why, without doing it."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from catalog.catalog import Catalog
from catalog.filters.tags import Selection
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings
from flows.sync.context import SyncContext
from flows.sync.procedure import PLAIN
from flows.sync.request import SyncRequest
from flows.sync.resolution import resolve_selected
from flows.sync.selection import select_by_name, select_candidates
from flows.sync.sources import MultipleSources, Upstream


async def explain_sync(
    settings: Settings, catalog: Catalog | None, request: SyncRequest, *, now: datetime
) -> Selection:
    """Return which tags a sync would select and why.

    It costs one listing of each remote, and where content decides, reading that. Companions are not looked for. Without a
    catalogue there are no records of remotes, and content cannot decide.
    """
    async with Upstreams(settings, catalog.remotes if catalog else None) as upstreams:
        sources = await MultipleSources.connect(upstreams, request)
        if request.wanted.asks_content and catalog is not None:
            return await _explain_content(catalog, request, sources, now)
        each = [await select_candidates(one.request, partial(_list, one.source)) for one in sources.members]
        return sources.join(each).selection


async def _list(source: Upstream) -> Sequence[str]:
    return [tag async for tag in source.tags()]


async def _explain_content(
    catalog: Catalog, request: SyncRequest, sources: MultipleSources, now: datetime
) -> Selection:
    only_look = request.model_copy(update={"dry_run": True, "on_error": "skip"})
    context = SyncContext.of(only_look, catalog, sources, operation_id="explain", clock=lambda: now)
    selected = await select_by_name(context, PLAIN.list_tags)
    resolved = await resolve_selected(context, selected, resolve_batch=PLAIN.resolve_batch, read_facts=PLAIN.read_facts)
    return resolved.selection.with_dropped(
        {tag: f"cannot be read: {reason}" for tag, reason in resolved.failed.items()}
    )
