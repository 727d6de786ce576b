"""An operation as a flow runs and shows it: one task that commits, and the table of what became of the tags."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from catalog.catalog import Catalog
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.tasks import task
from flows.runs.artifacts import result_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, OperationResult, perform


@task(name="commit-version")
async def commit_operation(
    catalog: Catalog, operation: Operation, actor: str, *, dry_run: bool, expected: str = ""
) -> OperationResult:
    """Plan the operation on the latest version, and make the new one."""
    return await asyncio.to_thread(
        perform,
        catalog,
        operation,
        actor=actor,
        run_id=run_id(),
        flow_run_id=recorded_run_id(),
        now=datetime.now(UTC),
        dry_run=dry_run,
        expected=expected,
    )


async def run_operation(
    prepare: Callable[[Catalog], Operation], *, actor: str, dry_run: bool = False, expected: str = ""
) -> FlowEnd[OperationResult]:
    """Open the catalogue, prepare the operation, perform it, and leave its table; called by a flow."""
    async with opened_catalog() as catalog:
        operation = await asyncio.to_thread(prepare, catalog)
        return await finish_operation(catalog, operation, actor=actor, dry_run=dry_run, expected=expected)


async def finish_operation(
    catalog: Catalog, operation: Operation, *, actor: str, dry_run: bool = False, expected: str = ""
) -> FlowEnd[OperationResult]:
    """Perform an operation, leave its table, and give the state that a flow ends with."""
    result = await commit_operation(catalog, operation, actor, dry_run=dry_run, expected=expected)
    for note in result.notes:
        run_logger().warning(note)
    await result_artifact(operation.name, operation.repository, result.summary(), result.items)
    return completed(result.summary(), result)
