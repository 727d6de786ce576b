"""The flow `apply-retention`: what no rule keeps leaves the latest versions, and versions beyond the newest go."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.content.retention import plan_for, plan_versions_of
from catalog.path_patterns import select_paths
from catalog.retention.plan import Item
from catalog.retention.rules import RetentionRule
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.retention.request import Retained, RetentionRequest, RetentionResult
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, perform
from oci.errors import EntrepotError, LocalError

ACTOR = "apply-retention"


class RetentionFailed(LocalError):
    """Retention went through all repositories and failed in some."""


def retain(
    catalog: Catalog,
    name: str,
    rules: Sequence[RetentionRule],
    *,
    run_id: str,
    now: datetime,
    dry_run: bool,
    flow_run_id: str | None = None,
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
        flow_run_id=flow_run_id,
        now=now,
        dry_run=dry_run,
    )
    numbers = list(catalog.snapshots.timeline(name).existing)
    if dry_run and done.delta:
        numbers.append(max(numbers) + 1)  # the version that the run would make
    versions = plan_versions_of(catalog, name, rules, numbers)
    if versions and (done.changed or (dry_run and done.delta)):
        versions = versions[1:]  # the one that this run makes
    going = [int(item.name) for item in versions if item.goes]
    if going and not dry_run:
        wanted = [range(number, number + 1) for number in going]
        catalog.deletion.delete_versions(name, wanted, actor=ACTOR, now=now)
    return Retained(name, (*judged, *versions), done.version if done.changed else 0)


@task(name="retain-repositories")
async def retain_repositories(catalog: Catalog, request: RetentionRequest) -> RetentionResult:
    """Judge one repository after the other; a failure in one does not stop the rest."""
    return await asyncio.to_thread(_retain_all, catalog, request, datetime.now(UTC))


def _retain_all(catalog: Catalog, request: RetentionRequest, now: datetime) -> RetentionResult:
    one_run, recorded = run_id(), recorded_run_id()
    rules = catalog.retention_rules.all()
    names = catalog.snapshots.names()
    chosen = select_paths(names, include=request.repositories) if request.repositories else names
    found: list[Retained] = []
    for name in chosen:
        fitting = [rule for rule in rules if rule.fits(name)]
        if not fitting:
            continue
        try:
            done = retain(
                catalog, name, fitting, run_id=one_run, flow_run_id=recorded, now=now, dry_run=request.dry_run
            )
            found.append(done)
        except EntrepotError as error:
            found.append(Retained(name, (), error=error.message))
    return RetentionResult(tuple(found), request.dry_run, recorded)


@flow(name="apply-retention", flow_run_name="apply retention")
async def apply_retention(request: RetentionRequest) -> FlowEnd[RetentionResult]:
    """Apply the rules. Killed at any point, the next run does the rest; a second run changes nothing."""
    async with opened_catalog() as catalog:
        result = await retain_repositories(catalog, request)
    await table_artifact("retention", "repositories", result.summary(), result.rows())
    run_logger().info(result.summary())
    if any(one.error for one in result.repositories):
        faults = "; ".join(f"{one.repository}: {one.error}" for one in result.repositories if one.error)
        raise RetentionFailed(f"{result.summary()}: {faults}"[:4000], detail=result.to_json())
    return completed(result.summary(), result)
