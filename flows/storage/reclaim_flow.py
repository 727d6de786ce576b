"""The flow `reclaim-space`: forgets the bytes of layers that can be fetched again, while pulls go on."""

import asyncio
from collections.abc import Sequence

from catalog.blobs.index import BlobRecord
from catalog.blobs.origins import BlobSource
from catalog.catalog import Catalog
from catalog.path_patterns import select_paths
from catalog.remotes.clients import Upstreams
from catalog.units import parse_duration
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs.catalog import opened_catalog
from flows.storage.reclaim_request import ReclaimRequest, ReclaimResult
from oci.digest import Digest
from oci.errors import RemoteError


class ReclaimJob:
    """One reclaim under way. No dataclass, so that Prefect does not walk through its blobs looking for other tasks' results."""

    __slots__ = ("blobs", "catalog", "keep", "kept", "names")

    def __init__(self, catalog: Catalog, names: Sequence[str], keep: float, blobs: Sequence[BlobRecord]) -> None:
        self.catalog, self.names, self.keep, self.blobs = catalog, names, keep, blobs
        self.kept: dict[str, str] = {}


@task(name="check-sources")
async def check_sources(job: ReclaimJob) -> None:
    """Ask upstream for each blob, by HEAD, and keep what it does not give."""
    slots = asyncio.Semaphore(job.catalog.settings.copy_concurrency)
    async with Upstreams(job.catalog.settings, job.catalog.remotes) as upstreams:

        async def check(blob: BlobRecord) -> None:
            async with slots:
                reason = await _why_not(job, upstreams, blob.digest)
            if reason:
                job.kept[str(blob.digest)] = reason

        async with asyncio.TaskGroup() as group:
            for blob in job.blobs:
                group.create_task(check(blob))
    job.blobs = [blob for blob in job.blobs if blob.digest not in job.kept]


async def _why_not(job: ReclaimJob, upstreams: Upstreams, digest: Digest) -> str:
    """Return why a blob cannot be fetched now by one of the repositories that name it; empty when all of them can."""
    found = await asyncio.to_thread(job.catalog.sources.of_all, digest)
    for name in job.names:
        if name in found and (reason := await _why_not_from_any(upstreams, found[name], digest)):
            return reason
    return "" if found else "no source is known"


async def _why_not_from_any(upstreams: Upstreams, sources: Sequence[BlobSource], digest: Digest) -> str:
    reason = "no source is known"
    for source in sources:
        try:
            if await (await upstreams.repository(source.remote)).offers(digest):
                return ""
            reason = f"{source.remote} does not have it any longer"
        except RemoteError as error:
            reason = error.message
    return reason


@task(name="forget-bytes")
async def forget_bytes(job: ReclaimJob) -> None:
    """Free the blobs batch by batch."""
    job.blobs = await asyncio.to_thread(job.catalog.maintenance.reclaim, job.blobs, job.names, keep=job.keep)


@flow(name="reclaim-space", flow_run_name="reclaim space of {request.repositories}")
async def reclaim_space(request: ReclaimRequest) -> FlowEnd[ReclaimResult]:
    """Free layers that came on demand; the next pull fetches them again. Killed at any point, the next run frees the rest."""
    async with opened_catalog() as catalog:
        result = await _run(catalog, request)
    run_logger().info(result.summary())
    return completed(result.summary(), result)


async def reclaim_blobs(job: ReclaimJob, *, check: bool, dry_run: bool) -> None:
    """Free the job's blobs, without those that upstream does not give; `job.blobs` are those that went, or would."""
    if check and job.blobs:
        await check_sources(job)
    if not dry_run and job.blobs:
        await forget_bytes(job)


async def _run(catalog: Catalog, request: ReclaimRequest) -> ReclaimResult:
    names = select_paths(catalog.snapshots.names(), include=request.repositories)
    keep = parse_duration(request.keep).total_seconds()
    job = ReclaimJob(catalog, names, keep, await asyncio.to_thread(catalog.maintenance.reclaimable, names, keep=keep))
    await reclaim_blobs(job, check=request.check, dry_run=request.dry_run)
    return ReclaimResult(tuple(job.blobs), job.kept, request.dry_run, recorded_run_id())
