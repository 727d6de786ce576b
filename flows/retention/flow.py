"""The flow `apply-retention`: what no rule keeps leaves the latest versions, and versions beyond the newest go."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.path_patterns import select_paths
from catalog.pull_counts import sum_pulls
from catalog.retention.plan import Item, RetentionPlan, plan_retention, plan_versions
from catalog.retention.rules import RetentionRule
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from flows.retention.request import Retained, RetentionRequest, RetentionResult
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, perform
from oci.errors import EntrepotError, LocalError

ACTOR = "apply-retention"


class RetentionFailed(LocalError):
    """Retention went through all repositories and failed in some."""


def plan_for(catalog: Catalog, base: Snapshot, rules: Sequence[RetentionRule], now: datetime) -> RetentionPlan:
    """Judge a latest version by what the catalogue knows of it."""
    name = base.repository
    needs_facts = any(rule.labels for rule in rules)
    return plan_retention(
        base,
        rules,
        facts=catalog.history.facts(base, base.manifests.keys()) if needs_facts else {},
        times=catalog.retention_rules.times(name),
        pulls=sum_pulls(catalog.pulls.read_one(name)),
        children=catalog.history.children(name),
        immutable=catalog.distributions.immutable_tags(name),
        now=now,
    )


def retain(
    catalog: Catalog, name: str, rules: Sequence[RetentionRule], *, run_id: str, now: datetime, dry_run: bool
) -> Retained:
    """Apply rules to one repository: first its content, as one version; then its versions, the new one among them."""
    judged: list[Item] = []

    def plan(base: Snapshot) -> Sequence[Change]:
        found = plan_for(catalog, base, rules, now)
        judged[:] = found.items
        return plan_towards(base, found.left)

    done = perform(
        catalog,
        Operation(name, "retain", f"rules {', '.join(rule.name for rule in rules)}"[:1000], plan, allow_sparse=True),
        actor=ACTOR,
        run_id=run_id,
        now=now,
        dry_run=dry_run,
    )
    numbers = list(catalog.snapshots.timeline(name).existing)
    if dry_run and done.delta:
        numbers.append(max(numbers) + 1)  # the version that the run would make
    pinned = {pin.version for pin in catalog.pins.of(name)}
    served = {one.version for one in catalog.distributions.all() if one.repository == name and one.version}
    versions = plan_versions(numbers, rules, pinned=pinned, served=served)
    if versions and (done.changed or (dry_run and done.delta)):
        versions = versions[1:]  # the one that this run makes
    going = [int(item.name) for item in versions if item.goes]
    if going and not dry_run:
        wanted = [range(number, number + 1) for number in going]
        catalog.deletion.delete_versions(name, wanted, actor=ACTOR, now=now)
    return Retained(name, (*judged, *versions), done.version if done.changed else 0)


@task(name="retain-repositories", cache_policy=NO_CACHE)
async def retain_repositories(catalog: Catalog, request: RetentionRequest) -> RetentionResult:
    """One repository after the other; one that fails keeps none of the others."""
    return await asyncio.to_thread(_retain_all, catalog, request, str(flow_run.id), datetime.now(UTC))


def _retain_all(catalog: Catalog, request: RetentionRequest, run_id: str, now: datetime) -> RetentionResult:
    rules = catalog.retention_rules.all()
    names = catalog.snapshots.names()
    chosen = select_paths(names, include=request.repositories) if request.repositories else names
    found: list[Retained] = []
    for name in chosen:
        fitting = [rule for rule in rules if rule.fits(name)]
        if not fitting:
            continue
        try:
            found.append(retain(catalog, name, fitting, run_id=run_id, now=now, dry_run=request.dry_run))
        except EntrepotError as error:
            found.append(Retained(name, (), error=error.message))
    return RetentionResult(tuple(found), request.dry_run, run_id)


@flow(name="apply-retention", persist_result=False, validate_parameters=True)
async def apply_retention(request: RetentionRequest) -> "State[RetentionResult]":
    """Apply the rules. Killed at any point, the next run does the rest; a second run changes nothing."""
    async with opened_catalog() as catalog:
        result = await retain_repositories(catalog, request)
    await table_artifact("retention", "repositories", result.summary(), result.rows())
    get_run_logger().info(result.summary())
    if any(one.error for one in result.repositories):
        faults = "; ".join(f"{one.repository}: {one.error}" for one in result.repositories if one.error)
        raise RetentionFailed(f"{result.summary()}: {faults}"[:4000], detail=result.to_json())
    return Completed(message=result.summary(), data=result)
