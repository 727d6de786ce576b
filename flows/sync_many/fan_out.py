"""Many syncs over many workers: split into chunks, started, awaited, taken over where no worker does them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from catalog.catalog import Catalog
from flows.recovery.run_locks import forget_run, is_held, locks_folder
from flows.runs.progress import Progress
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import failure
from flows.sync_many.chunk_runs import Beat, ChunkRun, ChunkRuns
from flows.sync_many.chunking import Portion, by_number, chunk_key, estimate_work, plan_chunks
from flows.sync_many.report import FannedOut, RepositoryOutcome, SyncHere
from flows.sync_many.request import DEFAULT_AT_ONCE, SyncChunkRequest, written_size
from flows.sync_many.slots import read_pool, slots_of
from flows.sync_many.waiting import (
    AGAIN_SECONDS,
    LifeSign,
    LifeSigns,
    count_done,
    fault_of,
    find_stuck,
    open_runs,
    pause_after,
)


class FanOut:
    """Syncs spread over the flow runs of chunks. Use it within a flow run, whose id is what a version is made once for.

    A flow run that is started again finds its chunks: what they have done is not done again, and only what failed is tried again.
    `here` does what no worker does. `on_spread` is called before this run waits for chunks.
    """

    def __init__(
        self,
        catalog: Catalog,
        here: SyncHere,
        progress: Progress,
        *,
        serve: Literal["public", "nobody"] = "public",
        at_once: int = DEFAULT_AT_ONCE,
        say: Callable[[str], None] = lambda _text: None,
        on_spread: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._catalog, self._here, self._progress, self._say = catalog, here, progress, say
        self._on_spread = on_spread
        self._locks = locks_folder(catalog.settings)
        self._serve, self._at_once = serve, at_once
        self._id = str(flow_run.id)
        self._runs = ChunkRuns(self._id)

    async def run(self, syncs: Sequence[SyncRequest], *, chunks: int | None = None) -> FannedOut:
        """Sync all: in `chunks` flow runs, by default one for each worker slot.

        1. Find what an earlier try of this run has started. 2. Split the rest. 3. Start the chunks; a single one is done here.
        4. Wait for all; a chunk whose process dies is started again. 5. Read the outcomes. Where this is cancelled, so are the
        chunks.
        """
        wanted = {one.target: one for one in syncs}
        # 1
        earlier = await self._runs.find() if _is_tried_again() else []
        outcomes = {name: one for name, one in (await self._read(earlier)).items() if one.outcome != "failed"}
        running = {name for run in open_runs(earlier) for name in run.targets}
        rest = [one for name, one in wanted.items() if name not in outcomes and name not in running]
        # 2
        slots = await _free_slots() if rest else 0
        planned = self._plan(rest, max(1, (chunks or slots) - len(open_runs(earlier))))
        if not running and (len(planned) < 2 or not slots):
            done = await self._sync_here(rest) if rest else {}
            return FannedOut({**outcomes, **done}, len(earlier))
        # 3
        first = max((run.number for run in earlier), default=0) + 1
        try:
            if self._on_spread is not None:
                await self._on_spread()
            for number, names in by_number(planned, first):
                await self._start(number, [wanted[name] for name in names])
            # 4
            taken_over, runs = await self._await_all()
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel_all())
            raise
        # 5
        outcomes |= {**await self._read(runs), **taken_over}
        missing = {name: fault_of(run) for run in runs for name in run.targets if name not in outcomes}
        failed = {name: failure(wanted[name], reason) for name, reason in missing.items() if name in wanted}
        return FannedOut({name: one for name, one in {**failed, **outcomes}.items() if name in wanted}, len(runs))

    def _plan(self, syncs: Sequence[SyncRequest], count: int) -> Sequence[tuple[str, ...]]:
        totals = self._catalog.quotas.totals
        portions = [
            Portion(one.target, estimate_work(one, totals.of(one.target).tags), written_size(one)) for one in syncs
        ]
        return plan_chunks(portions, count)

    async def _start(self, number: int, syncs: Sequence[SyncRequest]) -> None:
        request = SyncChunkRequest(
            syncs=tuple(syncs), number=number, operation=self._id, serve=self._serve, at_once=self._at_once
        )
        self._say(f"chunk {number}: {len(syncs)} repositories")
        await self._runs.start(request, chunk_key(self._id, number, request.model_dump_json()))

    async def _read(self, runs: Sequence[ChunkRun]) -> dict[str, RepositoryOutcome]:
        return await self._runs.read_outcomes(run for run in runs if run.has_ended or run.is_given_up)

    async def _sync_here(self, syncs: Sequence[SyncRequest]) -> dict[str, RepositoryOutcome]:
        return {one.repository: one for one in await self._here(syncs)}

    async def _await_all(self) -> tuple[dict[str, RepositoryOutcome], list[ChunkRun]]:
        """Wait until no run goes on; return what was done here, and all runs. A run whose process is dead is started again."""
        done_here: dict[str, RepositoryOutcome] = {}
        busy_at, looks, life = datetime.now(UTC), 0, LifeSigns()
        while True:
            runs = await self._runs.find()
            beats = await self._runs.read_beats(run for run in runs if run.is_working)
            self._progress.done = min(count_done(runs, beats) + len(done_here), self._progress.total)
            if not open_runs(runs):
                return done_here, runs
            lost = life.find_lost(runs, await asyncio.to_thread(self._signs, runs, beats), datetime.now(UTC))
            for run in lost:
                await self._start_again(run)
            if any(run.is_working for run in runs):
                busy_at = datetime.now(UTC)
            stuck = None if lost else find_stuck(runs, datetime.now(UTC), busy_at=busy_at)
            if stuck is not None:
                done_here |= await self._take_over(stuck)
                continue
            await asyncio.sleep(pause_after(looks))
            looks += 1

    def _signs(self, runs: Sequence[ChunkRun], beats: Mapping[str, Beat]) -> dict[str, LifeSign]:
        """Return what is seen of the runs that workers have. A lock tells at once that a process of this home is dead."""
        return {
            run.id: LifeSign(run.since, beats[run.id].updated if run.id in beats else "", is_held(self._locks, run.id))
            for run in runs
            if run.is_working
        }

    async def _start_again(self, run: ChunkRun) -> None:
        if await self._runs.start_again(run, after=timedelta(seconds=AGAIN_SECONDS * max(run.attempts, 1))):
            self._say(f"the process of {run.name} is gone after {run.attempts} attempts")
            if await asyncio.to_thread(is_held, self._locks, run.id) is False:
                await asyncio.to_thread(
                    forget_run, self._locks, run.id
                )  # that of the next process may be in another home

    async def _take_over(self, run: ChunkRun) -> dict[str, RepositoryOutcome]:
        self._say(f"no worker does {run.name}, so this run does")
        await self._runs.take_over(run)
        return await self._sync_here(run.syncs)

    async def _cancel_all(self) -> None:
        await self._runs.cancel(await self._runs.find())


def _is_tried_again() -> bool:
    """Return whether this flow run has been started before."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and (context.flow_run.run_count or 0) > 1


async def _free_slots() -> int:
    context = FlowRunContext.get()
    own_pool = context.flow_run.work_pool_name if context is not None and context.flow_run is not None else None
    return slots_of(await read_pool(), own_pool=own_pool)
