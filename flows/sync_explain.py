"""What a sync would select, and why, without a flow."""

from collections.abc import Sequence
from functools import partial

from catalog.filters import Selection
from catalog.settings import Settings
from flows.sync_blend import BlendedUpstream, Member, open_source
from flows.sync_job import Upstream
from flows.sync_request import SyncRequest
from flows.sync_select import check_chosen, choose_tags


async def explain_sync(settings: Settings, request: SyncRequest) -> Selection:
    """Say which tags a sync would take and why, at the cost of one listing of each remote; companions are not looked for."""
    async with open_source(settings, request) as source:
        blended = source if isinstance(source, BlendedUpstream) else None
        members = blended.members if blended else (Member(request, source),)
        choices = [await choose_tags(one.request, partial(_list, one.source)) for one in members]
        choice = blended.take(choices) if blended else choices[0]
    check_chosen(request, choice)
    return choice.selection


async def _list(source: Upstream) -> Sequence[str]:
    return [tag async for tag in source.tags()]
