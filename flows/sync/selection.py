"""The stage Selected: tags of the upstream by their names. Its list is only asked for where that is needed to select."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from catalog.filters.companions import is_companion_tag
from catalog.filters.tags import Selection
from flows.forms.modes import Mode
from flows.sync.context import SyncContext
from flows.sync.request import SyncRequest
from flows.sync.sources import Candidates, Upstream
from oci.errors import InvalidInput, RemoteError, RemoteUnauthorized

ListTags = Callable[[SyncContext, Upstream], Awaitable[Sequence[str]]]
"""Lists every tag of a source."""


class NothingSelected(InvalidInput):
    """Upstream has tags, and filters select none of them."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Tags and digests that patterns select.

    `mode` decides about tags that upstream lacks: while a source is down, nobody knows what it has, so nothing is removed.
    `listed` are all tags of upstream, as far as it was asked for them. `may_lack` were named without knowing whether upstream
    has them. `optional` are tags that may hold companions and that are not here: a refusal counts as a tag that is not there.
    """

    selection: Selection
    mode: Mode
    listed: frozenset[str] | None = None
    may_lack: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


async def list_source_tags(_context: SyncContext, source: Upstream) -> list[str]:
    """Return every tag of a source, in its order."""
    return [tag async for tag in source.tags()]


async def select_by_name(context: SyncContext, list_tags: ListTags) -> Selected:
    """Select tags by name.

    Raises what the first source raises; a later one that is down ends the list of sources where failures are skipped.
    """
    request, sources = context.request, context.sources
    each: list[Candidates] = []
    is_cut_short = False
    for member in sources.members:
        try:
            each.append(await select_candidates(member.request, partial(_list, context, list_tags, member.source)))
        except RemoteError as error:
            if not each or request.on_error == "fail" or isinstance(error, RemoteUnauthorized):
                raise
            is_cut_short = True
            context.log.note(
                f"{error.message}; what {member.name} and the remotes after it have stays as it is, and nothing is removed"
            )
            break
    candidates = sources.join(each)
    for member in sources.members:
        if member.listing_may_be_cut:
            is_cut_short = True
            if request.mode == "mirror":
                context.log.note(f"the list of tags of {member.name} may be cut, so that nothing is removed")
    return Selected(
        selection=candidates.selection,
        mode="additive" if is_cut_short else request.mode,
        listed=candidates.listed,
        may_lack=candidates.may_lack,
        optional=await _optional_tags(context, candidates.selection),
    )


async def select_candidates(request: SyncRequest, list_tags: Callable[[], Awaitable[Sequence[str]]]) -> Candidates:
    """Select tags of one source by their names; its list is asked for only where patterns need it."""
    if request.pinned:
        return Candidates(Selection({request.pinned: "named by the remote"}))
    tags = request.wanted.tags
    digests = {str(digest): "included by its digest" for digest in tags.digests}
    if tags.named is not None:
        names, listed, may_lack = tags.named, None, frozenset([*tags.named, *digests])
    else:
        names = tuple(await list_tags())
        listed, may_lack = frozenset(names), frozenset(digests)
    selection = request.wanted.candidates(names)
    return Candidates(Selection({**selection.rules, **digests}, selection.dropped), listed, may_lack)


async def _list(context: SyncContext, list_tags: ListTags, source: Upstream) -> Sequence[str]:
    context.progress.begin("listing", 0)
    return await list_tags(context, source)


async def _optional_tags(context: SyncContext, selection: Selection) -> frozenset[str]:
    """Return the selected tags that hold companions by their names, and are not here yet."""
    named = [tag for tag in selection.kept if is_companion_tag(tag)]
    if not named:
        return frozenset()
    base = await asyncio.to_thread(context.catalog.snapshots.find, context.target)
    return frozenset(tag for tag in named if base is None or tag not in base.tags)
