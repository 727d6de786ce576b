"""The flow `scrub-blobs`: reads all that is held at a bounded rate, sets damaged blobs aside, fetches them again."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.audit import Event
from catalog.catalog import Catalog
from catalog.content.copy_ends import RepositoryTarget
from catalog.maintenance.impact import Use
from catalog.maintenance.scrub import Fault, HeldRecord, Pace
from catalog.remotes.clients import Upstreams
from catalog.units import moment_of, parse_duration
from catalog.versions.snapshot import Snapshot
from flows.runs import progress
from flows.runs.artifacts import progress_artifact, table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.progress import Progress, format_bytes
from flows.storage.scrub_request import ContentLost, Mended, ScrubRequest, ScrubResult
from oci.descriptor import Descriptor
from oci.errors import DigestInvalid, RemoteError, SizeInvalid
from oci.remote.address import Remote

ACTOR = "scrub-blobs"
_BATCH, _SECONDS = 500, 5.0
"""Blobs, and seconds, after which it is noted what was read: what a scrub that is killed reads again."""


class ScrubJob:
    """One scrub under way. No dataclass, so that Prefect does not walk through it looking for other tasks' results."""

    __slots__ = ("began", "catalog", "last", "pace", "progress", "request", "result", "total")

    def __init__(self, catalog: Catalog, request: ScrubRequest) -> None:
        self.catalog, self.request = catalog, request
        self.began = catalog.maintenance.scrubber.begin(time.time())
        self.pace = Pace(request.rate_bytes, monotonic=time.monotonic, sleep=time.sleep)
        self.result = ScrubResult(flow_run_id=str(flow_run.id))
        self.progress = progress.watched.get() or Progress()
        self.total = catalog.maintenance.scrubber.due(self.before)
        self.last = ""

    @property
    def before(self) -> float:
        """What was read before this Unix time is to be read."""
        return moment_of(self.request.older_than, datetime.fromtimestamp(self.began, UTC)).timestamp()


@task(name="read-blobs", cache_policy=NO_CACHE)
async def read_blobs(job: ScrubJob) -> None:
    """Read what is due, blob by blob; what is damaged is set aside and fetched again where it can be."""
    blobs, size = job.total
    async with Upstreams(job.catalog.settings, job.catalog.remotes) as upstreams:
        while (faults := await asyncio.to_thread(_read_some, job)) is not None:
            job.progress.phase = (
                f"read {job.result.blobs} of {blobs} blobs, {format_bytes(job.result.bytes)} of {format_bytes(size)}"
            )
            for fault in faults:
                await _mend(job, upstreams, fault)
    await asyncio.to_thread(job.catalog.maintenance.scrubber.end)


def _read_some(job: ScrubJob) -> list[Fault] | None:
    """Read for some seconds; return the damaged blobs among them, which are set aside, or None when nothing is due any more."""
    scrubber, started = job.catalog.maintenance.scrubber, time.monotonic()
    due = scrubber.next_due(job.last, job.before, _BATCH)
    right: list[HeldRecord] = []
    faults: list[Fault] = []
    try:
        for blob in due:
            reason = scrubber.read(blob, job.pace)
            job.last = blob.digest
            job.result.blobs += 1
            job.result.bytes += blob.size
            if not reason:
                right.append(blob)
            elif (fault := scrubber.set_aside(blob, reason, time.time())) is not None:
                faults.append(fault)
            if faults or time.monotonic() - started > _SECONDS:
                break
    finally:
        scrubber.note_read(right, time.time())
    return faults if due else None


async def _mend(job: ScrubJob, upstreams: Upstreams, fault: Fault) -> None:
    """Fetch a blob that was set aside from where it came, through the writer that verifies it; say what was found."""
    get_run_logger().error("%s: %s", fault.digest, fault.reason)
    uses = await asyncio.to_thread(job.catalog.maintenance.uses, fault.digest)
    places = await asyncio.to_thread(_places, job.catalog, fault, uses)
    remote = await _fetch_from_any(job, upstreams, fault, uses, places)
    if remote is None:
        job.result.damaged.append(fault)
    else:
        job.result.mended.append(Mended(fault, str(remote.repository_only())))
    outcome = f"fetched again from {remote.repository_only()}" if remote else "set aside"
    detail = {"outcome": outcome, "repositories": [use.repository for use in uses][:100]}
    event = Event(datetime.now(UTC), ACTOR, "quarantine", fault.digest, reason=fault.reason, detail=detail)
    await asyncio.to_thread(job.catalog.events.record, [event])


def _places(catalog: Catalog, fault: Fault, uses: Sequence[Use]) -> dict[Remote, str]:
    """Where a blob can be fetched, and for which repository that is: where it was left first, then where others came from."""
    left = catalog.sources.of_all(fault.digest)
    found: dict[Remote, str] = {}
    for use in uses:
        for source in left.get(use.repository, ()):
            found.setdefault(source.remote, use.repository)
    for use in uses:
        for remote in use.upstreams:
            found.setdefault(remote, use.repository)
    return found


async def _fetch_from_any(
    job: ScrubJob, upstreams: Upstreams, fault: Fault, uses: Sequence[Use], places: Mapping[Remote, str]
) -> Remote | None:
    media_type = next((use.media_type for use in uses if use.media_type), "")
    wanted = Descriptor(media_type or "application/octet-stream", fault.digest, fault.size)
    for remote, repository in places.items():
        try:
            upstream = await upstreams.repository(remote)
            target = RepositoryTarget(job.catalog, Snapshot(repository, 0), source=upstream)
            if media_type:
                await target.write_manifest(await upstream.read_manifest(wanted))
            else:
                async with aclosing(upstream.read_blob(wanted)) as chunks:  # type: ignore[type-var]  # an async generator
                    await target.write_blob(wanted, chunks)
        except (RemoteError, DigestInvalid, SizeInvalid) as error:
            get_run_logger().warning("%s: %s", fault.digest, error.message)
        else:
            return remote
    return None


@task(name="find-lost", cache_policy=NO_CACHE)
async def find_lost(job: ScrubJob) -> None:
    """Find what versions hold and nobody has, and the images that need it."""
    result, catalog = job.result, job.catalog
    result.lost = await asyncio.to_thread(catalog.maintenance.absent)
    result.hits = await asyncio.to_thread(catalog.maintenance.hits, result.lost)
    now = datetime.now(UTC)
    events = [
        Event(now, ACTOR, "lose", one.digest, reason=f"{one.repository} version {one.versions}", detail=one.to_json())
        for one in result.hits
    ]
    if events:
        await asyncio.to_thread(catalog.events.record, events)


@task(name="find-unknown", cache_policy=NO_CACHE)
async def find_unknown(job: ScrubJob) -> None:
    """Find files that nobody knows, and blobs that no version holds."""
    request, result = job.request, job.result
    grace = parse_duration(request.grace).total_seconds()
    result.unknown = await asyncio.to_thread(
        job.catalog.maintenance.unknown_files, grace=grace, remove=request.remove_unknown
    )
    loose = await asyncio.to_thread(job.catalog.maintenance.sweep, grace=grace, dry_run=True)
    result.loose, result.loose_bytes = loose.freed_blobs, loose.freed_bytes


@flow(name="scrub-blobs", persist_result=False, validate_parameters=True)
async def scrub_blobs(request: ScrubRequest) -> "State[ScrubResult]":
    """Read every blob. Killed at any point, the next run goes on where this one was; fails with ContentLost when content is."""
    async with opened_catalog() as catalog:
        job = await asyncio.to_thread(ScrubJob, catalog, request)
        async with progress_artifact("scrub", "blobs", job.progress):
            await read_blobs(job)
            await find_lost(job)
            await find_unknown(job)
        result = job.result
    await table_artifact("scrub", "blobs", result.summary(), result.rows())
    if result.lost:
        raise ContentLost(result)
    get_run_logger().info(result.summary())
    return Completed(message=result.summary(), data=result)
