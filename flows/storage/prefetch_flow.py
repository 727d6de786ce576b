"""The flow `prefetch-content`: layers that a sync on demand or a cache has left upstream, fetched before they are asked for."""

import asyncio
from collections.abc import Sequence

from catalog.catalog import Catalog
from catalog.path_patterns import select_paths
from catalog.remotes.clients import Upstreams
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs import progress
from flows.runs.absent_blobs import Absent, fetch_blob
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.storage.prefetch_request import PrefetchFailed, PrefetchRequest, PrefetchResult
from oci.errors import BlobUnknown, RemoteError


class PrefetchJob:
    """One prefetch under way. No dataclass, so that Prefect does not walk through it looking for other tasks' results."""

    __slots__ = ("absent", "catalog", "failed", "fetched", "names", "progress", "streamed")

    def __init__(self, catalog: Catalog, names: Sequence[str]) -> None:
        self.catalog, self.names = catalog, names
        self.absent: list[Absent] = []
        self.fetched: list[Absent] = []
        self.failed: dict[str, str] = {}
        self.streamed = 0
        self.progress = progress.watched.get() or Progress()


@task(name="find-absent")
async def find_absent(job: PrefetchJob) -> None:
    """Find what the latest versions hold and the store does not."""
    await asyncio.to_thread(_find_absent, job)


def _find_absent(job: PrefetchJob) -> None:
    for name in job.names:
        snapshot = job.catalog.snapshots.get(name)
        missing = job.catalog.rights.missing(snapshot)
        for digest in sorted(missing):
            sources = job.catalog.sources.find(snapshot, digest, missing)
            if sources and all(source.policy == "streamed" for source in sources):
                job.streamed += 1
            else:
                kept = tuple(source for source in sources if source.policy != "streamed")
                job.absent.append(Absent(snapshot, digest, snapshot.deferred.get(digest, snapshot.blobs[digest]), kept))


@task(name="fetch-blobs")
async def fetch_blobs(job: PrefetchJob) -> None:
    """Fetch them, each once, and go on when one fails."""
    slots = asyncio.Semaphore(job.catalog.settings.copy_concurrency)
    job.progress.begin("fetching layers", 0)
    async with Upstreams(job.catalog.settings, job.catalog.remotes) as upstreams:

        async def fetch(blob: Absent) -> None:
            async with slots:
                try:
                    await fetch_blob(job.catalog, upstreams, blob)
                except (RemoteError, BlobUnknown) as error:
                    job.failed[str(blob.digest)] = error.message
                else:
                    job.fetched.append(blob)
                    job.progress.count_bytes(blob.size)

        async with asyncio.TaskGroup() as group:
            for blob in job.absent:
                group.create_task(fetch(blob))
    for digest, reason in list(job.failed.items())[:20]:
        run_logger().warning("%s: %s", digest, reason)


@flow(name="prefetch-content", flow_run_name="prefetch {request.repositories}")
async def prefetch_content(request: PrefetchRequest) -> FlowEnd[PrefetchResult]:
    """Fetch what was left upstream. Killed at any point, what has been fetched stays, and the next run fetches the rest."""
    async with opened_catalog() as catalog:
        result = await _run(catalog, request)
    run_logger().info(result.summary())
    return completed(result.summary(), result)


async def _run(catalog: Catalog, request: PrefetchRequest) -> PrefetchResult:
    names = select_paths(catalog.snapshots.names(), include=request.repositories)
    job = PrefetchJob(catalog, names)
    await find_absent(job)
    if job.absent and not request.dry_run:
        await fetch_blobs(job)
        if job.failed:
            raise PrefetchFailed(job.failed, len(job.fetched))
    done = job.absent if request.dry_run else job.fetched
    size = sum(blob.size for blob in done)
    return PrefetchResult(len(names), len(done), size, job.streamed, request.dry_run, recorded_run_id())
