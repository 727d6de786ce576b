"""The course of a replication: discover, plan, sync each path, switch all. It knows nothing of Prefect."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from catalog.catalog import Catalog
from catalog.distributions.replication import (
    FoundBy,
    ReplicaPlan,
    accepted,
    current_version,
    plan_replicas,
    switch,
    turned_private,
)
from catalog.remotes.clients import Upstreams
from flows.replicate.privacy import Publicity
from flows.replicate.request import Replica, ReplicateRequest, ReplicateResult
from flows.runs.failures import MAX_UNAVAILABLE, named
from flows.runs.progress import Progress
from flows.sync.context import SyncContext
from flows.sync.procedure import PLAIN, SyncSteps, run_sync
from flows.sync.report import SyncResult
from flows.sync.request import SyncRequest
from flows.sync.selection import NothingSelected
from flows.sync.sources import MultipleSources
from oci.errors import EntrepotError, LocalError, RemoteError, RemoteUnavailable
from oci.remote.discovery.discovery import Discovery, Served, discover

ACTOR = "replicate-registry"

UNCHANGED = "upstream serves what it served at the last replication"


class Synced(NamedTuple):
    """What there is of a path: as it is served here, the version that holds it, how that came about, and whether upstream was not
    even asked."""

    served: Served
    version: int
    note: str
    is_current: bool = False


class ReplicationFailed(RemoteError):
    """Paths could not be synced, so all are served as they were."""

    def __init__(self, failed: Mapping[str, str], *, registry: str) -> None:
        what = "1 path" if len(failed) == 1 else f"{len(failed)} paths"
        super().__init__(
            "\n".join([f"{what} could not be synced, so everything is served as it was:", *named(failed)]),
            registry=registry,
            detail={"failed": dict(failed)},
        )


class ReplicateJob:
    """One replication under way, and what has become of each path so far. Use it within one event loop.

    No dataclass, so that Prefect does not walk through it looking for other tasks' results.
    """

    def __init__(
        self,
        request: ReplicateRequest,
        catalog: Catalog,
        upstreams: Upstreams,
        run_id: str,
        *,
        steps: SyncSteps = PLAIN,
        progress: Progress | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.request, self.catalog, self.upstreams, self.run_id = request, catalog, upstreams, run_id
        self.steps, self.progress, self.say = steps, progress or Progress(), say
        self.progress.waits = upstreams.waiting
        self.found_by = FoundBy("catalog")
        self.synced: dict[str, Synced] = {}
        self.failed: dict[str, str] = {}
        self.unanswered = 0
        """Number of paths in a row that failed because upstream did not respond."""
        self.left_out: list[Replica] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Add a remark to the result, and log it at once."""
        if text not in self.notes:
            self.notes.append(text)
            self.say(text)

    @property
    def manner(self) -> str:
        """Return how paths are replicated, as one text."""
        record = self.catalog.remotes.select(self.request.remote("name").reference)
        return self.request.manner((record and record.policy) or "immediate")


Discover = Callable[[ReplicateJob], Awaitable[Discovery]]
Switch = Callable[[ReplicateJob, ReplicaPlan], Awaitable[list[Replica]]]


async def discover_paths(job: ReplicateJob) -> Discovery:
    """Ask upstream for the paths that it serves."""
    request, upstreams = job.request, job.upstreams
    return await discover(
        request.host,
        lambda only_basic: upstreams.new_transport(request.remote("name"), only_basic=only_basic),
        kinds=request.kinds,
        pulp_query=request.pulp_filter,
        pulp_root=request.pulp_api,
    )


async def switch_paths(job: ReplicateJob, plan: ReplicaPlan) -> list[Replica]:
    """Serve the new versions, all from one moment on."""
    return await asyncio.to_thread(_switch, job, plan)


async def run_replication(
    job: ReplicateJob, *, find: Discover = discover_paths, serve: Switch = switch_paths
) -> ReplicateResult:
    """Run a replication to its end and return its result.

    1. Discover. 2. Plan; what upstream lists as private is private here from now on. 3. Sync each path that is not the same,
    going on when one fails. 4. Switch, unless one has failed and is not to be skipped. A path of which filters select nothing is
    left out; where it has been replicated, it is served as it was.
    Raises ReplicationFailed, PathTaken, UpstreamChanged, and what the two ends raise.
    """
    request = job.request
    # 1
    found = await find(job)
    _note_discovery(job, found)
    # 2
    plan = await _plan(job, found)
    job.say(f"{request.host} serves {len(found.served)} paths ({found.kind}), {len(plan.wanted)} are selected")
    if not request.dry_run:
        await asyncio.to_thread(_close, job, found)
    # 3
    here = {one.path: one for one in job.catalog.distributions.all()}
    async with Publicity(request, job.upstreams, found.kind) as publicity:
        for one in plan.wanted:
            current = None if request.depends_on_time else current_version(here.get(one.path), one, job.manner)
            if job.unanswered >= MAX_UNAVAILABLE and current is None:
                job.failed[one.path] = f"not tried, since {request.host} does not respond"
                continue
            await _guarded(job, one, publicity, current)
    if job.failed and (request.on_error == "fail" or not job.synced):
        raise ReplicationFailed(job.failed, registry=request.host)
    # 4
    replicas = _planned(job, plan) if request.dry_run else await serve(job, plan)
    replicas += job.left_out
    replicas += [Replica(path, "failed", _version(here.get(path)), reason) for path, reason in job.failed.items()]
    replicas += [Replica(path, "kept", _version(here.get(path)), reason) for path, reason in plan.kept.items()]
    return ReplicateResult(
        request.host, found.kind, tuple(replicas), plan.not_selected, request.dry_run, job.run_id, tuple(job.notes)
    )


def _note_discovery(job: ReplicateJob, found: Discovery) -> None:
    """Note what the list of paths leaves open."""
    if job.request.kind == "auto" and found.kind == "catalog":
        job.note(
            f"{job.request.host} has neither an Entrepôt's API nor a Pulp's, so its _catalog was read, which tells neither "
            "privacy nor labels; --kind catalog says that this is meant"
        )
    for doubt in found.doubts:
        job.note(f"{job.request.host}: {doubt}; no path is removed")


async def _plan(job: ReplicateJob, found: Discovery) -> ReplicaPlan:
    request = job.request
    job.found_by = FoundBy(found.kind, await job.upstreams.identity(request.remote("name")))
    plan = plan_replicas(
        job.catalog.distributions.all(),
        found,
        request.host,
        identity=job.found_by.identity,
        include=request.include,
        exclude=request.exclude,
        labels=request.labels,
        keep_gone=request.keep_gone,
        accept_change=request.accept_change,
        skip_taken=request.on_error == "skip",
    )
    job.failed |= dict.fromkeys(plan.taken, f"it serves something else here than a replica of {request.host}")
    for path, reason in plan.kept.items():
        job.note(f"{path} goes on being served: {reason}")
    return plan


async def _guarded(job: ReplicateJob, one: Served, publicity: Publicity, current: int | None) -> None:
    """Sync a path; its failure is noted, unless it is this installation's."""
    try:
        version, note, digest, is_whole = current, UNCHANGED, None, True
        if current is None:
            result = await _sync(job, one)
            version, note, is_whole = result.version, result.summary(), not result.failed
            digest = next((item.digest for item in result.items if item.digest and item.action != "failed"), None)
            job.say(note)
            for tag, reason in result.failed.items():
                job.note(f"{one.path}:{tag} was skipped: {reason}")
        assert version is not None
        served = replace(one, private=await publicity.is_private(one, digest), content=one.content if is_whole else "")
    except LocalError:
        raise
    except NothingSelected as error:
        job.left_out.append(Replica(one.path, "left out", 0, error.message))
    except EntrepotError as error:
        job.say(f"{one.path}: {error.message}")
        job.failed[one.path] = error.message
        job.unanswered = job.unanswered + 1 if isinstance(error, RemoteUnavailable) else 0
    else:
        job.unanswered = 0
        if served.private and not one.private and job.request.privacy == "asked":
            job.note(f"{one.path} is private here: upstream gives it to a login alone")
        job.synced[one.path] = Synced(served, version, note, is_current=current is not None)


def _close(job: ReplicateJob, found: Discovery) -> None:
    """Make private what upstream lists as private, whatever becomes of its content."""
    distributions = job.catalog.distributions
    job.catalog.snapshots.refresh()
    closed = turned_private(distributions.all(), found, job.request.host, datetime.now(UTC))
    distributions.switch(closed, [], actor=ACTOR)
    for one in closed:
        job.note(f"{one.path} is private now, as it is upstream")


def _planned(job: ReplicateJob, plan: ReplicaPlan) -> list[Replica]:
    """Return what a run that is not dry would do."""
    replicas = [
        Replica(path, "unchanged" if one.is_current else "to sync", one.version, one.note)
        for path, one in job.synced.items()
    ]
    return replicas + _removed(plan)


def _switch(job: ReplicateJob, plan: ReplicaPlan) -> list[Replica]:
    catalog, host = job.catalog, job.request.host
    catalog.snapshots.refresh()
    here = {one.path: one for one in catalog.distributions.all()}
    synced = [(one.served, one.version) for one in job.synced.values()]
    replicas_now = switch(here, synced, host, datetime.now(UTC), job.manner, job.found_by)
    updated = {one.path for one in replicas_now if one.path in here and one.updated_at != here[one.path].updated_at}
    if job.request.accept_change:
        replicas_now += [accepted(here[path], job.found_by) for path in plan.kept if path in here]
    catalog.distributions.switch(replicas_now, plan.gone, actor=ACTOR)
    replicas: list[Replica] = []
    for path, one in job.synced.items():
        action = "added" if path not in here else "updated" if path in updated else "unchanged"
        replicas.append(Replica(path, action, one.version, one.note))  # type: ignore[arg-type]  # three of its words
    return replicas + _removed(plan)


def _removed(plan: ReplicaPlan) -> list[Replica]:
    return [Replica(path, "removed", 0, "not served upstream any longer") for path in plan.gone]


def _version(here: object) -> int:
    return getattr(here, "version", None) or 0


async def _sync(job: ReplicateJob, one: Served) -> SyncResult:
    """Make a version that nobody is served yet."""
    request = job.request
    sync_request = SyncRequest(
        **request.tags.model_dump(),
        remote=str(request.remote(one.path)),
        repository=one.path,
        mode="mirror",
        policy=request.policy,
        dry_run=request.dry_run,
        on_error=request.on_error,
    )
    context = SyncContext.of(
        sync_request,
        job.catalog,
        await MultipleSources.connect(job.upstreams, sync_request),
        operation_id=job.run_id,
        flow_run_id=job.run_id,
        clock=lambda: datetime.now(UTC),
        progress=job.progress,
        serve="nobody",
    )
    return (await run_sync(context, job.steps)).with_wait(job.upstreams.waited)
