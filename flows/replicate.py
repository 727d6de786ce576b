"""The flow `replicate-registry`: what another installation serves, served here."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.catalog import Catalog
from catalog.replicas import ReplicaPlan, current_version, plan_replicas, switch
from catalog.settings import read_settings
from catalog.upstreams import Upstreams
from flows import progress
from flows.artifacts import table_artifact
from flows.concurrency import upstream_slot
from flows.failures import named
from flows.opened_catalog import opened_catalog
from flows.progress import Progress
from flows.replicate_request import Replica, ReplicateRequest, ReplicateResult
from flows.sync import RETRIED, STEPS
from flows.sync_job import SyncJob
from flows.sync_report import SyncResult
from flows.sync_request import SyncRequest
from flows.sync_run import run_sync
from flows.sync_select import NothingSelected
from oci.errors import LocalError, RemoteError
from oci.remote.discovery import Kind, Served, discover

ACTOR = "replicate-registry"


UNCHANGED = "upstream serves what it served at the last replication"


class Synced(NamedTuple):
    """What there is of a path: the version that holds it, how that came about, and whether upstream was not even asked."""

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


@task(name="discover-distributions", **RETRIED)
async def discover_distributions(upstreams: Upstreams, request: ReplicateRequest) -> tuple[Kind, list[Served]]:
    """Ask what upstream serves."""
    return await discover(
        request.host,
        lambda only_basic: upstreams.new_transport(request.remote("name"), only_basic=only_basic),
        kinds=request.kinds,
        pulp_query=request.pulp_filter,
    )


@task(name="switch-distributions", cache_policy=NO_CACHE)
async def switch_distributions(
    catalog: Catalog, request: ReplicateRequest, plan: ReplicaPlan, synced: Mapping[str, Synced]
) -> list[Replica]:
    """Serve the new versions, all from one moment on."""
    return await asyncio.to_thread(_switch, catalog, request, plan, synced)


def _switch(
    catalog: Catalog, request: ReplicateRequest, plan: ReplicaPlan, synced: Mapping[str, Synced]
) -> list[Replica]:
    catalog.refresh()
    here = {one.path: one for one in catalog.distributions.all()}
    wanted = [(served, synced[served.path].version) for served in plan.wanted if served.path in synced]
    made = switch(here, wanted, request.host, datetime.now(UTC), _manner(catalog, request))
    catalog.distributions.switch(made, plan.gone, actor=ACTOR)
    updated = {one.path for one in made if one.path in here and one.updated_at != here[one.path].updated_at}
    replicas: list[Replica] = []
    for path, one in synced.items():
        action = "added" if path not in here else "updated" if path in updated else "unchanged"
        replicas.append(Replica(path, action, one.version, one.note))  # type: ignore[arg-type]  # three of its words
    return replicas + [Replica(path, "removed", 0, "not served upstream any longer") for path in plan.gone]


@flow(
    name="replicate-registry",
    flow_run_name="replicate {request.upstream}",
    persist_result=False,
    validate_parameters=True,
)
async def replicate_registry(request: ReplicateRequest) -> "State[ReplicateResult]":
    """Sync every path that another installation serves, then serve all of them here at once.

    When one fails, everything is served as it was; run again, and what was copied is not copied again.
    """
    settings = read_settings()
    async with (
        opened_catalog(settings) as catalog,
        Upstreams(settings, catalog.remotes) as upstreams,
        upstream_slot(request.host),
    ):
        result = await _run(request, catalog, upstreams)
    await table_artifact("replicate", request.host, result.summary(), [one.to_json() for one in result.replicas])
    return Completed(message=result.summary(), data=result)


async def _run(request: ReplicateRequest, catalog: Catalog, upstreams: Upstreams) -> ReplicateResult:
    """1. Discover. 2. Plan. 3. Sync each path that is not the same, going on when one fails. 4. Switch, unless one has failed.

    A path of which filters select nothing is left out; where it has been replicated, it is served as it was.
    """
    # 1
    kind, served = await discover_distributions(upstreams, request)
    # 2
    plan = plan_replicas(
        catalog.distributions.all(),
        served,
        request.host,
        include=request.include,
        exclude=request.exclude,
        labels=request.labels,
        keep_gone=request.keep_gone,
    )
    log = get_run_logger()
    log.info("%s serves %d paths (%s), %d are wanted", request.host, len(served), kind, len(plan.wanted))
    # 3
    here, manner = {one.path: one for one in catalog.distributions.all()}, _manner(catalog, request)
    synced: dict[str, Synced] = {}
    failed: dict[str, str] = {}
    left_out: list[Replica] = []
    for one in plan.wanted:
        current = None if request.depends_on_time else current_version(here.get(one.path), one, manner)
        if current is not None:
            synced[one.path] = Synced(current, UNCHANGED, is_current=True)
            continue
        try:
            result = await _sync(request, one, catalog, upstreams)
            synced[one.path] = Synced(result.version, result.summary())
            log.info(result.summary())
        except LocalError:
            raise
        except NothingSelected as error:
            left_out.append(Replica(one.path, "left out", 0, error.message))
        except RemoteError as error:
            log.warning("%s: %s", one.path, error.message)
            failed[one.path] = error.message
    if failed:
        raise ReplicationFailed(failed, registry=request.host)
    # 4
    if request.dry_run:
        replicas = [
            Replica(path, "unchanged" if one.is_current else "to sync", one.version, one.note)
            for path, one in synced.items()
        ]
        replicas += [Replica(path, "removed", 0, "not served upstream any longer") for path in plan.gone]
    else:
        replicas = await switch_distributions(catalog, request, plan, synced)
    replicas += left_out
    return ReplicateResult(request.host, kind, tuple(replicas), plan.not_selected, request.dry_run, str(flow_run.id))


def _manner(catalog: Catalog, request: ReplicateRequest) -> str:
    record = catalog.remotes.select(request.remote("name").reference)
    return request.manner((record and record.policy) or "immediate")


async def _sync(request: ReplicateRequest, one: Served, catalog: Catalog, upstreams: Upstreams) -> SyncResult:
    """Make a version that nobody is served yet."""
    wanted = SyncRequest(
        **request.tags.model_dump(),
        remote=str(request.remote(one.path)),
        repository=one.path,
        mode="mirror",
        policy=request.policy,
        dry_run=request.dry_run,
    )
    run_id = str(flow_run.id)
    job = SyncJob(
        wanted,
        catalog,
        await upstreams.signed(wanted.upstream),
        operation_id=run_id,
        flow_run_id=run_id,
        clock=lambda: datetime.now(UTC),
        progress=progress.watched.get() or Progress(),
        serve="nobody",
    )
    job.progress.waits = upstreams.waiting
    return (await run_sync(job, STEPS)).with_wait(upstreams.waited)
