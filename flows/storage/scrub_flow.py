"""The flow `scrub-blobs`: reads all that is held at a bounded rate, sets damaged blobs aside, fetches them again."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from catalog.audit import Event
from catalog.blobs.scrub_records import DueBlob, Fault
from catalog.catalog import Catalog
from catalog.maintenance.scrub import Pace
from catalog.remotes.clients import Upstreams
from catalog.units import format_size, moment_of, parse_duration
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress
from flows.storage.repair import Repairer
from flows.storage.scrub_request import ContentLost, Repair, ScrubRequest, ScrubResult
from oci.digest import Digest

ACTOR = "scrub-blobs"
_SHOWN = 100
"""Repositories that an event names."""

_BATCH, _SECONDS = 500, 5.0
"""Blobs, and seconds, after which it is noted what was read: what a scrub that is killed reads again."""


class ScrubJob:
    """One scrub under way. No dataclass, so that Prefect does not walk through it looking for other tasks' results."""

    __slots__ = ("began", "catalog", "last", "pace", "progress", "request", "result", "total")

    def __init__(self, catalog: Catalog, request: ScrubRequest) -> None:
        self.catalog, self.request = catalog, request
        self.began = catalog.maintenance.scrubber.records.begin(time.time())
        self.pace = Pace(request.rate_bytes, monotonic=time.monotonic, sleep=time.sleep)
        self.result = ScrubResult(flow_run_id=recorded_run_id())
        self.progress = progress.watched.get() or Progress()
        self.total = catalog.maintenance.scrubber.records.due(self.before)
        self.last = ""

    @property
    def before(self) -> float:
        """Return what was read before this Unix time is to be read."""
        return moment_of(self.request.older_than, datetime.fromtimestamp(self.began, UTC)).timestamp()


@task(name="read-blobs")
async def read_blobs(job: ScrubJob) -> None:
    """Read what is due, blob by blob; what is damaged is set aside and fetched again where it can be."""
    blobs, size = job.total
    async with Upstreams(job.catalog.settings, job.catalog.remotes) as upstreams:
        repairer = Repairer(job.catalog, upstreams)
        while (faults := await asyncio.to_thread(_read_some, job)) is not None:
            job.progress.phase = (
                f"read {job.result.blobs} of {blobs} blobs, {format_size(job.result.bytes)} of {format_size(size)}"
            )
            for fault in faults:
                run_logger().error("%s: %s", fault.digest, fault.reason)
                found = await _repair(repairer, fault)
                job.result.repairs.append(found)
                await _record(job.catalog, found)
    await asyncio.to_thread(job.catalog.maintenance.scrubber.records.end)


def _read_some(job: ScrubJob) -> list[Fault] | None:
    """Read for some seconds; return the damaged blobs among them, which are set aside, or None when nothing is due any more."""
    scrubber, started = job.catalog.maintenance.scrubber, time.monotonic()
    due = scrubber.records.next_due(job.last, job.before, _BATCH)
    right: list[DueBlob] = []
    faults: list[Fault] = []
    try:
        for blob in due:
            damage = scrubber.read(blob, job.pace)
            job.last = blob.digest
            job.result.blobs += 1
            job.result.bytes += blob.size
            if damage is None:
                right.append(blob)
            elif (fault := scrubber.set_aside(blob, damage, time.time())) is not None:
                faults.append(fault)
            if faults or time.monotonic() - started > _SECONDS:
                break
    finally:
        scrubber.records.note_read(right, time.time())
    return faults if due else None


async def _repair(repairer: Repairer, fault: Fault) -> Repair:
    """Fetch what was set aside from where it came, through the writer that verifies it; say what was found."""
    found = await repairer.repair(fault)
    for remote, failure in found.failures.items():
        run_logger().warning("%s: %s %s", fault.digest, remote, failure)
    return found


async def _record(catalog: Catalog, found: Repair) -> None:
    """Note in the audit trail that content was set aside, and what became of it."""
    detail = {
        "outcome": f"fetched again from {found.remote}" if found.remote else "set aside",
        "repositories": list(found.repositories[:_SHOWN]),
        "not_given": found.failures,
    }
    event = Event(datetime.now(UTC), ACTOR, "quarantine", found.fault.digest, reason=found.fault.reason, detail=detail)
    await asyncio.to_thread(catalog.events.record, [event])


async def _repair_absent(job: ScrubJob, absent: Sequence[Digest]) -> None:
    """Fetch again what is not here and what earlier scrubs have set aside, where a version needs it."""
    catalog, repairs = job.catalog, job.result.repairs
    faults = {digest: Fault(digest, 0, "not in the store") for digest in absent}
    faults |= {one.digest: one for one in await asyncio.to_thread(catalog.maintenance.scrubber.records.quarantined)}
    asked = {one.fault.digest for one in repairs}
    async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
        repairer = Repairer(catalog, upstreams)
        for fault in faults.values():
            if fault.digest not in asked and (found := await _repair(repairer, fault)).repositories:
                repairs.append(found)


@task(name="find-lost")
async def find_lost(job: ScrubJob) -> None:
    """Find what versions hold and nobody has, fetch it again, and find the images that need what is lost for good."""
    result, catalog = job.result, job.catalog
    absent = await asyncio.to_thread(catalog.maintenance.absent)
    await _repair_absent(job, absent)
    fetched = {one.fault.digest for one in result.repairs if one.remote}
    result.lost = [digest for digest in absent if digest not in fetched]
    result.impacts = await asyncio.to_thread(catalog.maintenance.impacts, result.lost)
    now = datetime.now(UTC)
    events = [
        Event(now, ACTOR, "lose", one.digest, reason=f"{one.repository} version {one.versions}", detail=one.to_json())
        for one in result.impacts
    ]
    if events:
        await asyncio.to_thread(catalog.events.record, events)


@task(name="find-unknown")
async def find_unknown(job: ScrubJob) -> None:
    """Find files that nobody knows, and blobs that no version holds."""
    request, result = job.request, job.result
    grace = parse_duration(request.grace).total_seconds()
    result.unknown = await asyncio.to_thread(
        job.catalog.maintenance.unknown_files, grace=grace, remove=request.remove_unknown
    )
    loose = await asyncio.to_thread(job.catalog.maintenance.sweep, grace=grace, dry_run=True)
    result.loose, result.loose_bytes = loose.freed_blobs, loose.freed_bytes


@flow(name="scrub-blobs", flow_run_name="scrub blobs")
async def scrub_blobs(request: ScrubRequest) -> FlowEnd[ScrubResult]:
    """Read every blob. Killed at any point, the next run goes on where this one was; fails with ContentLost when content is."""
    async with opened_catalog() as catalog:
        job = await asyncio.to_thread(ScrubJob, catalog, request)
        async with progress_artifact(job.progress):
            await read_blobs(job)
            await find_lost(job)
            await find_unknown(job)
        result = job.result
    await table_artifact("scrub", "blobs", result.summary(), result.rows())
    if result.lost:
        raise ContentLost(result)
    run_logger().info(result.summary())
    return completed(result.summary(), result)
