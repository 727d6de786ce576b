"""The course of a replication: discover, plan, sync the paths, switch all. It knows nothing of Prefect."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
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
from flows.sync.procedure import PLAIN
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob, sync_repositories
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import DEFAULT_AT_ONCE
from oci.digest import Digest
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
        flow_run_id: str | None = None,
        progress: Progress | None = None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.request, self.catalog, self.upstreams, self.run_id = request, catalog, upstreams, run_id
        self.flow_run_id = run_id if flow_run_id is None else flow_run_id
        self.progress, self.say = progress or Progress(), say
        self.progress.waits = upstreams.waiting
        self.found_by = FoundBy("catalog")
        self.synced: dict[str, Synced] = {}
        self.failed: dict[str, str] = {}
        self.unanswered = 0
        """Number of questions about privacy in a row that upstream did not answer."""
        self.chunks = 0
        """Number of flow runs that the syncs were split into."""
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
Outcomes = Mapping[str, RepositoryOutcome]
SyncPaths = Callable[[ReplicateJob, Sequence[SyncRequest]], Awaitable[Outcomes]]
"""Makes versions that nobody is served yet; returns an outcome for each path."""
Switch = Callable[[ReplicateJob, ReplicaPlan], Awaitable[list[Replica]]]
Hold = Callable[[], Awaitable[None]]
"""Takes a slot of upstream's limit, unless one is held already."""


async def hold_nothing() -> None:
    """Ask upstream without a limit."""


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


async def sync_paths(job: ReplicateJob, syncs: Sequence[SyncRequest]) -> Outcomes:
    """Sync paths in this process, several at once."""
    chunk = ChunkJob(job.catalog, job.upstreams, job.run_id, job.progress, serve="nobody", steps=PLAIN)
    return {one.repository: one for one in await sync_repositories(chunk, syncs, at_once=DEFAULT_AT_ONCE)}


async def switch_paths(job: ReplicateJob, plan: ReplicaPlan) -> list[Replica]:
    """Serve the new versions, all from one moment on."""
    return await asyncio.to_thread(_switch, job, plan)


async def run_replication(
    job: ReplicateJob,
    *,
    find: Discover = discover_paths,
    sync: SyncPaths = sync_paths,
    serve: Switch = switch_paths,
    hold: Hold = hold_nothing,
) -> ReplicateResult:
    """Run a replication to its end and return its result.

    1. Discover. 2. Plan; what upstream lists as private is private here from now on. 3. Sync the paths that are not the same,
    going on when one fails. 4. Ask for the privacy of each. 5. Switch, unless one has failed and is not to be skipped. A path of
    which filters select nothing is left out; where it has been replicated, it is served as it was.
    Raises ReplicationFailed, PathTaken, UpstreamChanged, and what the two ends raise.
    """
    request = job.request
    # 1
    await hold()
    found = await find(job)
    _note_discovery(job, found)
    # 2
    plan = await _plan(job, found)
    job.say(f"{request.host} serves {len(found.served)} paths ({found.kind}), {len(plan.wanted)} are selected")
    if not request.dry_run:
        await asyncio.to_thread(_close, job, found)
    # 3
    here = {one.path: one for one in job.catalog.distributions.all()}
    current = {} if request.depends_on_time else _current_versions(job, here, plan)
    to_sync = [_sync_request(request, one.path) for one in plan.wanted if one.path not in current]
    job.progress.begin("syncing", len(to_sync))
    outcomes = await sync(job, to_sync)
    _raise_local(outcomes.values())
    # 4
    await hold()
    async with Publicity(request, job.upstreams, found.kind) as publicity:
        for one in plan.wanted:
            await _note_path(job, one, publicity, current.get(one.path), outcomes.get(one.path))
    if job.failed and (request.on_error == "fail" or not job.synced):
        raise ReplicationFailed(job.failed, registry=request.host)
    # 5
    replicas = _planned(job, plan) if request.dry_run else await serve(job, plan)
    replicas += job.left_out
    replicas += [Replica(path, "failed", _version(here.get(path)), reason) for path, reason in job.failed.items()]
    replicas += [Replica(path, "kept", _version(here.get(path)), reason) for path, reason in plan.kept.items()]
    return ReplicateResult(
        request.host,
        found.kind,
        tuple(replicas),
        plan.not_selected,
        request.dry_run,
        job.flow_run_id,
        tuple(job.notes),
        job.chunks,
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


def _current_versions(job: ReplicateJob, here: Mapping[str, Distribution], plan: ReplicaPlan) -> dict[str, int]:
    """Return the versions of paths that serve what upstream lists, so that it need not be asked for them."""
    found = {one.path: current_version(here.get(one.path), one, job.manner) for one in plan.wanted}
    return {path: version for path, version in found.items() if version is not None}


def _sync_request(request: ReplicateRequest, path: str) -> SyncRequest:
    return SyncRequest(
        **request.tags.model_dump(),
        remote=str(request.remote(path)),
        repository=path,
        mode="mirror",
        policy=request.policy,
        dry_run=request.dry_run,
        on_error=request.on_error,
    )


def _raise_local(outcomes: Iterable[RepositoryOutcome]) -> None:
    """Raise LocalError where a path has failed for a fault of this installation: no other is to be served then."""
    local = next((one for one in outcomes if one.is_local), None)
    if local is not None:
        raise LocalError(local.error)


async def _note_path(
    job: ReplicateJob, one: Served, publicity: Publicity, current: int | None, outcome: RepositoryOutcome | None
) -> None:
    """Note what there is of a path, and ask for its privacy; a failure is noted, unless it is this installation's."""
    version, note, digest, is_whole = current, UNCHANGED, None, True
    if outcome is not None:
        for tag, reason in outcome.failed.items():
            job.note(f"{one.path}:{tag} was skipped: {reason}")
        if outcome.outcome == "left out":
            job.left_out.append(Replica(one.path, "left out", 0, outcome.error))
            return
        if outcome.outcome == "failed":
            _note_failure(job, one.path, outcome.error)
            return
        version, note, is_whole = outcome.version, outcome.note, not outcome.failed
        digest = Digest(outcome.digest) if outcome.digest else None
    assert version is not None
    if job.unanswered >= MAX_UNAVAILABLE:
        _note_failure(job, one.path, f"its privacy is not known, since {job.request.host} does not respond")
        return
    try:
        is_private = await publicity.is_private(one, digest)
    except LocalError:
        raise
    except EntrepotError as error:
        _note_failure(job, one.path, error.message)
        job.unanswered = job.unanswered + 1 if isinstance(error, RemoteUnavailable) else 0
        return
    job.unanswered = 0
    served = replace(one, private=is_private, content=one.content if is_whole else "")
    if served.private and not one.private and job.request.privacy == "asked":
        job.note(f"{one.path} is private here: upstream gives it to a login alone")
    job.synced[one.path] = Synced(served, version, note, is_current=current is not None)


def _note_failure(job: ReplicateJob, path: str, reason: str) -> None:
    job.say(f"{path}: {reason}")
    job.failed[path] = reason


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
