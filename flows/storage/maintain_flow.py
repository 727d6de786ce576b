"""The flow `maintain-catalog`: DuckLake's maintenance in small steps, while pushes, syncs and pulls go on."""

import asyncio
import math
import time
from collections.abc import Iterator

from catalog.catalog import Catalog
from catalog.maintenance.compaction import MaintenanceStep
from catalog.units import parse_duration
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.storage.maintain_request import MaintainRequest, MaintainResult, add_up


@task(name="maintain-lake")
async def maintain_lake(catalog: Catalog, request: MaintainRequest) -> MaintainResult:
    """Do one step after the other, each of which waits for its turn among the writers."""
    limit = parse_duration(request.time_limit).total_seconds()
    ends = time.monotonic() + limit if limit else math.inf
    steps = catalog.maintenance.steps(
        keep_snapshots=parse_duration(request.keep_snapshots).total_seconds(),
        grace=parse_duration(request.grace).total_seconds(),
    )
    done: list[MaintenanceStep] = []
    finished = await asyncio.to_thread(_run, steps, done, ends)
    return MaintainResult(add_up(done), finished, recorded_run_id())


def _run(steps: Iterator[MaintenanceStep], done: list[MaintenanceStep], ends: float) -> bool:
    """Take the steps; False when the time was up before the last."""
    for step in steps:
        done.append(step)
        if time.monotonic() > ends:
            return False
    return True


@flow(name="maintain-catalog", flow_run_name="maintain catalogue")
async def maintain_catalog(request: MaintainRequest) -> FlowEnd[MaintainResult]:
    """Keep the catalogue small and quick. Killed at any point, the catalogue is whole, and the next run does the rest."""
    async with opened_catalog() as catalog:
        result = await maintain_lake(catalog, request)
    await table_artifact("maintain", "catalog", result.summary(), result.rows())
    run_logger().info(result.summary())
    return completed(result.summary(), result)
