"""The course of a migration from another product's registry: discover, plan, sync, settle, compare. It knows no Prefect."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.path_patterns import select_paths
from catalog.remotes.options import value_of_reference
from flows.migrate.access_proposal import check_proposal_file, propose_access, write_proposal
from flows.migrate.comparison import Compared
from flows.migrate.foreign_rules import map_immutability, map_quotas, map_retention
from flows.migrate.registry_comparison import compare_registry
from flows.migrate.registry_job import Outcomes, RegistryJob, RegistryPlan
from flows.migrate.registry_request import (
    HarborMigrationRequest,
    PulpMigrationRequest,
    QuayMigrationRequest,
    RegistryMigrationRequest,
)
from flows.migrate.report import MigratedRepository, MigrationResult, PlannedRepository
from flows.sync.request import SyncRequest
from flows.sync_many.report import RepositoryOutcome
from oci.errors import LocalError, NameInvalid
from oci.remote.discovery.harbor import discover_harbor
from oci.remote.discovery.inventory import Inventory
from oci.remote.discovery.pulp_inventory import inventory_of_pulp
from oci.remote.discovery.quay import discover_quay
from oci.remote.discovery.served import Served

NOT_READ: Mapping[str, str] = {
    "harbor": "robot accounts of the system, labels, webhooks, replications and scans are not read",
    "pulp": "superusers, content guards and pull-through distributions are not read",
    "quay": "default permissions, builds, notifications, expiry of tags, mirrors, and manifests without a tag are not read",
}
"""What of a product is never taken along, said in each plan."""


Discover = Callable[[RegistryJob], Awaitable[Inventory]]
SyncAll = Callable[[RegistryJob, Sequence[SyncRequest]], Awaitable[Outcomes]]
Settle = Callable[[RegistryJob, RegistryPlan, Sequence[str]], Awaitable[None]]
CompareAll = Callable[[RegistryJob, RegistryPlan, Outcomes], Awaitable[Mapping[str, Compared | str]]]


async def discover_source(job: RegistryJob) -> Inventory:
    """Ask the registry's management API what it holds."""
    request = job.request
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(request, QuayMigrationRequest) and request.api_token:
        token = await asyncio.to_thread(value_of_reference, request.api_token, os.environ, what="the API token")
        headers = (("Authorization", f"Bearer {token}"),)
    async with await job.upstreams.new_transport(request.remote("name"), only_basic=True, headers=headers) as transport:
        if isinstance(request, HarborMigrationRequest):
            return await discover_harbor(
                transport, rules=request.rules, access=request.access is not None, untagged=request.untagged
            )
        if isinstance(request, QuayMigrationRequest):
            return await discover_quay(transport, request.namespaces, access=request.access is not None)
        return await inventory_of_pulp(
            transport, root=request.pulp_api, untagged=request.untagged, access=request.access is not None
        )


async def plan_registry(job: RegistryJob, found: Inventory) -> RegistryPlan:
    """Select repositories, and see what of their settings has a counterpart here."""
    return await asyncio.to_thread(_plan, job, found)


def _plan(job: RegistryJob, found: Inventory) -> RegistryPlan:
    request, catalog = job.request, job.catalog
    catalog.snapshots.refresh()
    by_path = {one.path: one for one in found.served}
    selected = select_paths(by_path, include=request.include, exclude=request.exclude)
    wanted: dict[str, Served] = {}
    planned: list[PlannedRepository] = []
    for path in selected:
        try:
            target = request.target(path)
        except NameInvalid as error:
            planned.append(PlannedRepository(path, faults={path: error.message}, fault_count=1))
            continue
        if reason := _taken(catalog, target):
            planned.append(PlannedRepository(path, faults={path: reason}, fault_count=1))
            continue
        here = catalog.snapshots.find(target)
        wanted[target] = by_path[path]
        planned.append(
            PlannedRepository(
                path,
                target,
                untagged=len(found.untagged.get(path, ())),
                version=here.version if here else 0,
                private=_is_private(job, by_path[path]),
            )
        )
    immutable, unlike = map_immutability(found.immutable, selected)
    retention, unlike_too = map_retention(found.retention, request.target)
    quotas, unlike_quotas = map_quotas(found.quotas, selected, request.target)
    left_out = [f"{name}: {reason}" for name, reason in found.left_out.items()]
    proposed, unlike_access = _propose(job, found, selected)
    return RegistryPlan(
        wanted,
        tuple(planned),
        tuple(sorted(by_path.keys() - set(selected))),
        {target: immutable[one.path] for target, one in wanted.items() if one.path in immutable},
        tuple(retention),
        (*left_out, *found.remarks, *unlike, *unlike_too, *unlike_quotas, *unlike_access, *_left_behind(request)),
        tuple(quotas),
        proposed,
        {target: tuple(found.untagged.get(one.path, ())) for target, one in wanted.items()},
    )


def _left_behind(request: RegistryMigrationRequest) -> Sequence[str]:
    """Return what this migration reads nothing of."""
    said = [NOT_READ[request.kind]]
    if isinstance(request, HarborMigrationRequest | PulpMigrationRequest) and not request.untagged:
        said.append("manifests without a tag stay behind; --untagged takes them along")
    return said


def _propose(job: RegistryJob, found: Inventory, selected: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Write the proposal of who may do what where one is wanted; return what it has, and what it could not have."""
    file = job.request.access
    if file is None or found.access is None:
        return "", ("who may do what is not read; --access FILE proposes it",)
    proposal = propose_access(found.access, job.request.target, selected)
    write_proposal(proposal, file, job.request.host)
    return proposal.summary(file), proposal.not_taken


def _taken(catalog: Catalog, target: str) -> str:
    """Return why a path here takes no repository; empty where it does."""
    here = catalog.distributions.find(target)
    if here is None:
        return ""
    if here.remote:
        return f"{target} is a cache here"
    if here.replica_of:
        return f"{target} is a replica here"
    return "" if here.repository == target else f"{target} serves the repository {here.repository} here"


def _is_private(job: RegistryJob, served: Served) -> bool:
    return served.private or job.request.private or job.catalog.settings.new_repositories == "private"


async def settle_paths(job: RegistryJob, plan: RegistryPlan, targets: Sequence[str]) -> None:
    """Serve what was copied, private where it was, and write the rules that were taken along."""
    await asyncio.to_thread(_settle, job, plan, targets)


def _settle(job: RegistryJob, plan: RegistryPlan, targets: Sequence[str]) -> None:
    catalog, now = job.catalog, datetime.now(UTC)
    catalog.snapshots.refresh()
    made = []
    for target in targets:
        served, here = plan.wanted[target], catalog.distributions.find(target)
        immutable = plan.immutable.get(target, ())
        if here is None:
            new = Distribution(
                target,
                target,
                now,
                now,
                private=_is_private(job, served),
                description=served.description,
                labels=dict(served.labels),
                immutable_tags=immutable,
            )
        else:
            new = replace(
                here,
                private=here.private or served.private,
                immutable_tags=tuple(dict.fromkeys((*here.immutable_tags, *immutable))),
            )
            if new.private and not here.private:
                job.notes.append(f"{target} is private now, as it is at the source")
        if new != here:
            made.append(replace(new, updated_at=now))
    catalog.distributions.switch(made, [], actor=job.actor)
    known = {one.name: one for one in catalog.retention_rules.all()}
    for rule in plan.retention:
        if rule.name not in known:
            catalog.retention_rules.put(rule, actor=job.actor)
        elif known[rule.name] != rule:
            job.notes.append(f"the retention rule {rule.name} here says something else, and stays as it is")
    limits = {one.quota.pattern: one.quota for one in catalog.quotas.all()}
    for quota in plan.quotas:
        if quota.pattern not in limits:
            catalog.quotas.put(quota, actor=job.actor)
        elif limits[quota.pattern] != quota:
            job.notes.append(f"the quota of {quota.pattern} here says something else, and stays as it is")


async def run_registry_migration(
    job: RegistryJob,
    *,
    find: Discover = discover_source,
    sync: SyncAll,
    settle: Settle = settle_paths,
    compare: CompareAll = compare_registry,
) -> MigrationResult:
    """Run a migration to its end and return its result.

    1. Discover and plan. 2. Sync each repository, into versions that nobody is served yet; one that fails spoils no other.
    3. Serve them, with the privacy and the rules of the source. 4. Compare. Run again, it copies what is new at the source.
    Raises what the source raises for the whole, and LocalError where this installation fails.
    """
    started, request = time.monotonic(), job.request
    if request.access:
        check_proposal_file(request.access)
    # 1
    plan = await plan_registry(job, await find(job))
    # 2
    syncs = [_sync_request(job, plan, target) for target in plan.wanted]
    job.progress.begin("syncing", len(syncs))
    outcomes = await sync(job, syncs)
    own = next((one for one in outcomes.values() if one.is_local), None)
    if own is not None:
        raise LocalError(own.error)
    good = {target: one for target, one in outcomes.items() if one.outcome not in ("failed", "left out")}
    compared: Mapping[str, Compared | str] = {}
    if not request.dry_run:
        # 3
        await settle(job, plan, [target for target, one in good.items() if one.version])
        # 4
        compared = await compare(job, plan, good)
    return MigrationResult(
        kind=request.kind,
        source=request.host,
        dry_run=request.dry_run,
        repositories=tuple(_migrated(one, outcomes.get(one.target), compared.get(one.target)) for one in plan.planned),
        not_selected=plan.not_selected,
        seconds=time.monotonic() - started,
        flow_run_id=job.flow_run_id,
        taken=plan.taken,
        not_taken=plan.not_taken,
        notes=tuple(job.notes),
        chunks=job.chunks,
    )


def _sync_request(job: RegistryJob, plan: RegistryPlan, target: str) -> SyncRequest:
    request, untagged = job.request, plan.untagged.get(target, ())
    return SyncRequest(
        remote=str(request.remote(plan.wanted[target].path)),
        include=("*", *untagged) if untagged else (),
        repository=target,
        policy="immediate",
        on_error=request.on_error,
        dry_run=request.dry_run,
    )


def _migrated(
    planned: PlannedRepository, outcome: RepositoryOutcome | None, compared: Compared | str | None
) -> MigratedRepository:
    if outcome is None:
        return MigratedRepository(planned, "failed", error=next(iter(planned.faults.values()), "was not synced"))
    is_lost = isinstance(compared, str)
    words = {"synced": "migrated", "to sync": "to migrate"}
    return MigratedRepository(
        replace(planned, tags=outcome.tags, to_copy=outcome.bytes if outcome.outcome == "to sync" else 0),
        "failed" if is_lost else words.get(outcome.outcome, outcome.outcome),
        version=outcome.version,
        copied=outcome.bytes if outcome.outcome == "synced" else 0,
        error=compared if isinstance(compared, str) else outcome.error,
        skipped=dict(outcome.failed),
        compared=None if isinstance(compared, str) else compared,
        notes=outcome.notes,
    )
