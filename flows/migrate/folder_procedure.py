"""The course of a migration from a folder: plan, copy each repository by the stages of a sync, compare. It knows no Prefect."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from catalog.catalog import Catalog
from catalog.path_patterns import select_paths
from catalog.remotes.clients import Upstreams
from catalog.versions.version_origins import VersionOrigin
from flows.migrate.comparison import Compared, compare_served
from flows.migrate.folder_request import FolderMigrationRequest
from flows.migrate.report import MAX_FAULTS_SHOWN, MigratedRepository, MigrationResult, PlannedRepository
from flows.runs.failures import named
from flows.runs.progress import Progress
from flows.sync.context import Provenance, Serve
from flows.sync.request import SyncRequest
from flows.sync.sources import Member, MultipleSources
from flows.sync_many.chunk import ChunkJob, sync_from, sync_repositories
from flows.sync_many.report import RepositoryOutcome
from oci.digest import Digest
from oci.errors import EntrepotError, LocalError, RemoteCorrupt
from oci.folders.docker_registry import RegistryStorage
from oci.folders.image_layouts import ImageLayouts
from oci.folders.stock import FolderRepository, Links

ACTOR = "migrate-folder"

NOWHERE = "folder.invalid"
"""The registry that a sync of a folder names: none. Source: RFC 2606, 2."""


class FolderJob(ChunkJob):
    """One migration from a folder under way. `names` has the name in the folder of each repository here."""

    def __init__(
        self,
        request: FolderMigrationRequest,
        storage: RegistryStorage | ImageLayouts,
        catalog: Catalog,
        upstreams: Upstreams,
        run_id: str,
        progress: Progress,
        *,
        flow_run_id: str | None = None,
    ) -> None:
        is_private = request.private or catalog.settings.new_repositories == "private"
        serve: Serve = "private" if is_private else "public"
        super().__init__(catalog, upstreams, run_id, progress, serve=serve, flow_run_id=flow_run_id)
        self.request, self.storage = request, storage
        self.names: dict[str, str] = {}
        self.not_selected: tuple[str, ...] = ()


PlanFolder = Callable[[FolderJob], Awaitable[Sequence[PlannedRepository]]]
SyncFolders = Callable[[FolderJob, Sequence[SyncRequest]], Awaitable[Sequence[RepositoryOutcome]]]
CompareFolder = Callable[[FolderJob, Sequence[RepositoryOutcome]], Awaitable[Mapping[str, Compared]]]


async def plan_folder(job: FolderJob) -> Sequence[PlannedRepository]:
    """Read what the folder has, without the bytes of blobs."""
    return await asyncio.to_thread(_plan, job)


def _plan(job: FolderJob) -> list[PlannedRepository]:
    request, seen = job.request, set[Digest]()
    names = list(job.storage.names())
    selected = select_paths(names, include=request.include, exclude=request.exclude)
    job.not_selected = tuple(sorted(set(names) - set(selected)))
    job.progress.begin("planning", len(selected))
    planned = []
    for name in selected:
        planned.append(_plan_one(job, name, seen))
        job.progress.done += 1
    return planned


def _plan_one(job: FolderJob, name: str, seen: set[Digest]) -> PlannedRepository:
    try:
        target = job.request.target(name)
        stock = job.storage.open(name)
    except LocalError:
        raise
    except EntrepotError as error:
        return PlannedRepository(name, faults={name: error.message}, fault_count=1)
    job.names[target] = name
    here = job.catalog.snapshots.find(target)
    new = {digest: size for digest, size in _sizes(stock).items() if digest not in seen}
    seen.update(new)
    content = job.catalog.content
    return PlannedRepository(
        name,
        target,
        tags=len(stock.tagged),
        untagged=len(stock.untagged()),
        manifests=len(stock.manifests),
        bytes=sum(new.values()),
        to_copy=sum(size for digest, size in new.items() if content.size(digest) is None),
        faults=dict(stock.faults.reasons),
        fault_count=stock.faults.count,
        sparse=stock.lacking(),
        version=here.version if here else 0,
        private=job.serve == "private" and here is None,
    )


def _sizes(stock: FolderRepository) -> dict[Digest, int]:
    return {**stock.blobs, **{digest: one.descriptor.size for digest, one in stock.manifests.items()}}


async def migrate_one(job: ChunkJob, request: SyncRequest) -> RepositoryOutcome:
    """Copy one repository; raise RemoteCorrupt where part of it is broken and that is not to be skipped."""
    assert isinstance(job, FolderJob)
    name = job.names[request.target]
    stock = await asyncio.to_thread(job.storage.open, name)
    faults = stock.faults
    if faults.count and request.on_error == "fail":
        raise RemoteCorrupt(
            "\n".join([f"{faults.count} broken (--on-error skip takes the rest):", *named(faults.reasons)])
        )
    untagged = stock.untagged() if job.request.untagged else ()
    if not stock.tagged and not untagged:
        return RepositoryOutcome(
            request.target, name, "left out", error="it has nothing to take", failed=faults.reasons
        )
    kept = request.model_copy(update={"include": ("*", *untagged) if untagged else ()})
    place = f"{job.request.folder.name}/{name}"
    provenance = Provenance(
        "migrate", ACTOR, f"migration from {job.request.kind} {place}", (VersionOrigin("folder", place),)
    )
    outcome = await sync_from(job, kept, MultipleSources([Member(kept, stock)]), provenance)
    return replace(outcome, remote=name, failed={**faults.reasons, **outcome.failed})


async def sync_folders(job: FolderJob, syncs: Sequence[SyncRequest]) -> Sequence[RepositoryOutcome]:
    """Copy repositories, several at once; the failure of one is that of no other."""
    return await sync_repositories(job, syncs, at_once=job.request.at_once, sync=migrate_one)


async def compare_folder(job: FolderJob, outcomes: Sequence[RepositoryOutcome]) -> Mapping[str, Compared]:
    """Read the tags and digests of the folder once more, and compare them with what is served."""
    return await asyncio.to_thread(_compare, job, outcomes)


def _compare(job: FolderJob, outcomes: Sequence[RepositoryOutcome]) -> dict[str, Compared]:
    job.catalog.snapshots.refresh()
    compared: dict[str, Compared] = {}
    for one in outcomes:
        with suppress(EntrepotError):  # then its failure is told already
            links = job.storage.links(job.names[one.repository])
            digests = _expected(job, one, links) if job.request.untagged else ()
            compared[one.repository] = compare_served(
                job.catalog, one.repository, links.tags, digests, skipped=one.failed.keys()
            )
    return compared


def _expected(job: FolderJob, outcome: RepositoryOutcome, links: Links) -> Collection[Digest]:
    """Return the manifests that should be here: all, or where parts were skipped those that the others lead to."""
    if not outcome.failed:
        return links.manifests.keys()
    stock = job.storage.open(job.names[outcome.repository])
    roots = [digest for tag, digest in stock.tagged.items() if tag not in outcome.failed]
    return stock.reached([*roots, *(digest for digest in stock.untagged() if digest not in outcome.failed)])


async def run_folder_migration(
    job: FolderJob,
    *,
    plan: PlanFolder = plan_folder,
    sync: SyncFolders = sync_folders,
    compare: CompareFolder = compare_folder,
) -> MigrationResult:
    """Run a migration to its end and return its result.

    1. Plan: read manifests and sizes. 2. Copy each repository; each becomes one version, and one that is broken spoils no other.
    3. Compare tags and digests with what is served. Killed at any point, it is run again: what is here is not copied again.
    Raises LayoutInvalid, and LocalError where this installation fails.
    """
    started, request = time.monotonic(), job.request
    # 1
    planned = await plan(job)
    by_target = {one.target: one for one in planned if one.target}
    migrated = [MigratedRepository(one) for one in planned if one.target]
    if not request.dry_run:
        # 2
        job.progress.begin("copying", len(by_target))
        outcomes = await sync(job, [_sync_request(request, target) for target in by_target])
        _raise_own(outcomes)
        # 3
        compared = await compare(job, [one for one in outcomes if one.outcome not in ("failed", "left out")])
        migrated = [_migrated(by_target[one.repository], one, compared.get(one.repository)) for one in outcomes]
    strange = [PlannedRepository(name, faults={name: reason}, fault_count=1) for name, reason in _strange(job).items()]
    unread = [
        MigratedRepository(
            one, "failed" if request.on_error == "fail" else "left out", error=next(iter(one.faults.values()))
        )
        for one in (*planned, *strange)
        if not one.target
    ]
    return MigrationResult(
        kind=request.kind,
        source=str(request.folder),
        dry_run=request.dry_run,
        repositories=(*migrated, *unread),
        not_selected=job.not_selected,
        seconds=time.monotonic() - started,
        flow_run_id=job.flow_run_id,
        notes=tuple(f"{one.planned.target}: {note}" for one in migrated for note in one.notes),
    )


def _strange(job: FolderJob) -> dict[str, str]:
    """Return what cannot be a repository, each with the reason, as far as it is not excluded."""
    strange, request = job.storage.strange, job.request
    return {name: strange[name] for name in select_paths(strange, include=request.include, exclude=request.exclude)}


def _sync_request(request: FolderMigrationRequest, target: str) -> SyncRequest:
    return SyncRequest(remote=f"{NOWHERE}/{target}", repository=target, policy="immediate", on_error=request.on_error)


def _raise_own(outcomes: Sequence[RepositoryOutcome]) -> None:
    """Raise LocalError for a fault of this installation: the rest was not tried then."""
    own = next((one for one in outcomes if one.is_local), None)
    if own is not None:
        raise LocalError(own.error)


def _migrated(planned: PlannedRepository, outcome: RepositoryOutcome, compared: Compared | None) -> MigratedRepository:
    return MigratedRepository(
        planned,
        "migrated" if outcome.outcome == "synced" else outcome.outcome,
        version=outcome.version,
        copied=outcome.bytes,
        error=outcome.error,
        skipped=dict(list(outcome.failed.items())[:MAX_FAULTS_SHOWN]),
        compared=compared,
        notes=outcome.notes,
    )
