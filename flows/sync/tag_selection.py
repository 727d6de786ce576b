"""Which tags of upstream a sync takes; upstream is asked for its list only where that is needed to choose."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from catalog.filters.tags import Selection
from flows.sync.job import pinned_tags
from flows.sync.request import SyncRequest
from oci.errors import InvalidInput


class NothingSelected(InvalidInput):
    """Upstream has tags, and filters select none of them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is selected; `listed` are all of upstream's tags where it was asked for them, `may_lack` what was named instead,
    so that upstream may not have it."""

    selection: Selection
    listed: frozenset[str] | None = None
    may_lack: frozenset[str] = frozenset()


async def choose_tags(request: SyncRequest, list_tags: Callable[[], Awaitable[Sequence[str]]]) -> Choice:
    """Select among the tags of one remote by tags alone; what they point to is looked at later, if it decides."""
    pinned = pinned_tags(request)
    if pinned:
        return Choice(Selection(dict.fromkeys(pinned, "named by the remote")))
    wanted = request.wanted.tags
    digests = {str(digest): "included by its digest" for digest in wanted.digests}
    if wanted.named is not None:
        selection = request.wanted.candidates(wanted.named)
        whole = Selection({**selection.rules, **digests}, selection.dropped)
        return Choice(whole, may_lack=frozenset([*wanted.named, *digests]))
    listed = await list_tags()
    selection = request.wanted.candidates(listed)
    whole = Selection({**selection.rules, **digests}, selection.dropped)
    return Choice(whole, listed=frozenset(listed), may_lack=frozenset(digests))
