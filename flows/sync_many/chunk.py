"""The repositories of one chunk, several at once; the failure of one is that of no other. It knows nothing of Prefect."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from flows.runs.failures import MAX_UNAVAILABLE
from flows.runs.progress import Progress
from flows.sync.context import Provenance, Serve, SyncContext
from flows.sync.procedure import SyncSteps, run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.selection import NothingSelected
from flows.sync.sources import MultipleSources
from flows.sync_many.patience import PATIENT
from flows.sync_many.read_ahead import ReadAhead
from flows.sync_many.report import RepositoryOutcome
from oci.errors import EntrepotError, LocalError, RemoteUnavailable


@dataclass(slots=True)
class PartProgress(Progress):
    """The progress of one repository; bytes count for the whole too."""

    whole: Progress = field(default_factory=Progress)

    def count_bytes(self, count: int) -> None:
        """Count bytes that were moved."""
        self.moved += count
        self.whole.count_bytes(count)

    def tell(self, text: str) -> None:
        """Tell something that is worth a line of its own."""
        self.whole.tell(text)


class ChunkJob:
    """One chunk under way. Use it within one event loop.

    `operation` is what a version is made once for, `flow_run_id` what Prefect knows the run by, by default the same.

    No dataclass, so that Prefect does not walk through it looking for other tasks' results.
    """

    def __init__(
        self,
        catalog: Catalog,
        upstreams: Upstreams,
        operation: str,
        progress: Progress,
        *,
        serve: Serve = "public",
        steps: SyncSteps = PATIENT,
        flow_run_id: str | None = None,
    ) -> None:
        self.flow_run_id = operation if flow_run_id is None else flow_run_id
        self.catalog, self.upstreams, self.operation, self.progress = catalog, upstreams, operation, progress
        self.serve, self.steps = serve, steps
        self.earlier: frozenset[str] = frozenset()
        """Repositories in which an earlier try has made a version: asked for once for all, since each question takes 20 ms."""
        self.checked_until: Mapping[str, int] = {}
        """The last version of each other repository before that question: only later ones can be of this operation."""
        self.ahead = ReadAhead(catalog, ())
        progress.waits = upstreams.waiting


SyncOne = Callable[[ChunkJob, SyncRequest], Awaitable[RepositoryOutcome]]
"""Syncs one repository: plainly, or as a task that is shown."""


async def sync_one(
    job: ChunkJob, request: SyncRequest, *, show: Callable[[SyncResult], Awaitable[None]] | None = None
) -> RepositoryOutcome:
    """Sync one repository, and show the result; raise what a sync raises. Filters that select nothing leave it out."""
    return await sync_from(job, request, await MultipleSources.connect(job.upstreams, request), show=show)


async def sync_from(
    job: ChunkJob,
    request: SyncRequest,
    sources: MultipleSources,
    provenance: Provenance | None = None,
    *,
    show: Callable[[SyncResult], Awaitable[None]] | None = None,
) -> RepositoryOutcome:
    """Sync one repository from sources that are connected to; `provenance` is for content of no registry."""
    context = SyncContext.of(
        request,
        job.catalog,
        sources,
        operation_id=job.operation,
        flow_run_id=job.flow_run_id,
        clock=lambda: datetime.now(UTC),
        progress=PartProgress(whole=job.progress),
        serve=job.serve,
        is_first_try=request.target not in job.earlier,
        checked_until=job.checked_until.get(request.target, 0),
        children_known=await job.ahead.read(request.target),
        provenance=provenance,
    )
    try:
        result = await run_sync(context, job.steps)
    except NothingSelected as error:
        return RepositoryOutcome(request.target, str(request.reference), "left out", error=error.message)
    if show is not None:
        await show(result)
    return RepositoryOutcome.of(result)


@dataclass(slots=True)
class _Course:
    """What has been learned while a chunk runs: why no other repository can be synced, and hosts that do not respond."""

    stopped: str = ""
    silent: dict[str, int] = field(default_factory=dict)

    def reason_to_skip(self, request: SyncRequest) -> str:
        host = request.reference.registry
        if self.silent.get(host, 0) >= MAX_UNAVAILABLE:
            return f"not tried, since {host} does not respond"
        return self.stopped and f"not tried: {self.stopped}"

    def learn(self, request: SyncRequest, error: Exception | None) -> None:
        host = request.reference.registry
        self.silent[host] = self.silent.get(host, 0) + 1 if isinstance(error, RemoteUnavailable) else 0
        if isinstance(error, LocalError):
            self.stopped = error.message


async def sync_repositories(
    job: ChunkJob, syncs: Sequence[SyncRequest], *, at_once: int, sync: SyncOne = sync_one
) -> list[RepositoryOutcome]:
    """Sync repositories, `at_once` at a time; return an outcome for each, in their order.

    After a failure of this installation, such as a full disk, no other is begun; nor one of a host that does not respond.
    """
    course, places = _Course(), asyncio.Semaphore(at_once)
    await asyncio.to_thread(_find_earlier, job, [one.target for one in syncs])

    async def guarded(request: SyncRequest) -> RepositoryOutcome:
        async with places:
            reason = course.reason_to_skip(request)
            outcome = failure(request, reason) if reason else await _sync(job, request, sync, course)
        job.progress.done += 1
        return outcome

    return await asyncio.gather(*map(guarded, syncs))


def _find_earlier(job: ChunkJob, targets: Sequence[str]) -> None:
    """Find out where an earlier try of the operation has made versions: one question for all, after the numbers were read."""
    snapshots = job.catalog.snapshots
    snapshots.refresh()
    numbers = {target: snapshots.last_number(target) for target in targets}
    job.ahead = ReadAhead(job.catalog, targets)
    job.earlier = job.catalog.history.repositories_of(job.operation)
    job.checked_until = {target: number for target, number in numbers.items() if target not in job.earlier}


async def _sync(job: ChunkJob, request: SyncRequest, sync: SyncOne, course: _Course) -> RepositoryOutcome:
    error: Exception
    try:
        outcome = await sync(job, request)
    except EntrepotError as raised:
        error, text = raised, raised.message
    except Exception as raised:  # noqa: BLE001  # a fault of ours in one repository is no reason to leave out the others
        error, text = raised, f"{type(raised).__name__}: {raised}"
    else:
        course.learn(request, None)
        return outcome
    course.learn(request, error)
    return failure(request, text, is_local=isinstance(error, LocalError))


def failure(request: SyncRequest, reason: str, *, is_local: bool = False) -> RepositoryOutcome:
    """Return the outcome of a repository that could not be synced."""
    return RepositoryOutcome(request.target, str(request.reference), "failed", error=reason, is_local=is_local)
