"""The flow `collect-garbage`: frees what nothing holds, while pushes, syncs and pulls go on."""

import asyncio
import math
import time

from catalog.catalog import Catalog
from catalog.maintenance.garbage_collection import SweepReport
from catalog.units import parse_duration
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs.catalog import opened_catalog
from flows.storage.gc_request import GcRequest, GcResult


@task(name="sweep-blobs")
async def sweep_blobs(catalog: Catalog, request: GcRequest) -> SweepReport:
    """Find what no version holds and no lease protects, and free it batch by batch."""
    limit = parse_duration(request.time_limit).total_seconds()
    ends = time.monotonic() + limit if limit else math.inf
    return await asyncio.to_thread(
        catalog.maintenance.sweep,
        grace=parse_duration(request.grace).total_seconds(),
        dry_run=request.dry_run,
        is_late=lambda: time.monotonic() > ends,
    )


@flow(name="collect-garbage", flow_run_name="collect garbage")
async def collect_garbage(request: GcRequest) -> FlowEnd[GcResult]:
    """Free the blobs that no version holds. Killed at any point, the next run frees the rest."""
    async with opened_catalog() as catalog:
        report = await sweep_blobs(catalog, request)
    result = GcResult(report, parse_duration(request.grace).total_seconds(), request.dry_run, recorded_run_id())
    run_logger().info(result.summary())
    return completed(result.summary(), result)
