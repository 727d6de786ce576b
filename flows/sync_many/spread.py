"""Many syncs, spread over workers where Prefect's engine runs the flow; else all in this process."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from catalog.catalog import Catalog
from flows.engine.current import direct_run
from flows.runs.progress import Progress
from flows.sync.request import SyncRequest
from flows.sync_many.report import FannedOut, SyncHere
from flows.sync_many.request import DEFAULT_AT_ONCE


async def spread_syncs(
    catalog: Catalog,
    syncs: Sequence[SyncRequest],
    here: SyncHere,
    progress: Progress,
    *,
    serve: Literal["public", "nobody"] = "public",
    at_once: int = DEFAULT_AT_ONCE,
    chunks: int | None = None,
    say: Callable[[str], None] = lambda _text: None,
    on_spread: Callable[[], Awaitable[None]] | None = None,
) -> FannedOut:
    """Sync all; `here` does what no worker does. Without a Prefect server there are no workers, and nothing to share work by."""
    if direct_run() is not None:
        done = await here(syncs) if syncs else ()
        return FannedOut({one.repository: one for one in done}, 0)
    from flows.sync_many.fan_out import FanOut

    fan_out = FanOut(catalog, here, progress, serve=serve, at_once=at_once, say=say, on_spread=on_spread)
    return await fan_out.run(syncs, chunks=chunks)
