"""An operation as Prefect runs and shows it: one task that commits, and the table of what became of the tags."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from catalog.catalog import Catalog
from flows.runs.artifacts import result_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, OperationResult, perform
from flows.runs.work import untagged


@task(name="commit-version", cache_policy=NO_CACHE)
async def commit_operation(
    catalog: Catalog, operation: Operation, actor: str, *, dry_run: bool, expected: str = ""
) -> OperationResult:
    """Plan the operation on the latest version, and make the new one."""
    return await asyncio.to_thread(
        perform,
        catalog,
        operation,
        actor=actor,
        run_id=str(flow_run.id),
        now=datetime.now(UTC),
        dry_run=dry_run,
        expected=expected,
    )


async def run_operation(
    prepare: Callable[[Catalog], Operation], *, actor: str, dry_run: bool = False, expected: str = ""
) -> "State[OperationResult]":
    """Open the catalogue, prepare the operation, perform it, and leave its table; called by a flow."""
    async with opened_catalog() as catalog:
        operation = await asyncio.to_thread(prepare, catalog)
        return await finish_operation(catalog, operation, actor=actor, dry_run=dry_run, expected=expected)


async def finish_operation(
    catalog: Catalog, operation: Operation, *, actor: str, dry_run: bool = False, expected: str = ""
) -> "State[OperationResult]":
    """Perform an operation, leave its table, and give the state that a flow ends with."""
    with untagged():
        result = await commit_operation(catalog, operation, actor, dry_run=dry_run, expected=expected)
    for note in result.notes:
        get_run_logger().warning(note)
    await result_artifact(operation.name, operation.repository, result.summary(), result.items)
    return Completed(message=result.summary(), data=result)
