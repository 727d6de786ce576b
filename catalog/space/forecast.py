"""Computes the report: by the same plans as the commands, which look at all changes, and change nothing."""

import time
from collections.abc import Callable
from datetime import datetime

from catalog.catalog import Catalog
from catalog.content.retention import plan_for, plan_versions_of
from catalog.retention.plan import Item
from catalog.space.report import (
    MOST_REPOSITORIES,
    GcForecast,
    ReclaimForecast,
    RepositorySpace,
    RetentionForecast,
    SpaceReport,
    SpaceTotals,
)
from catalog.units import GRACE, parse_duration

RETENTION_SECONDS = 60.0
"""Seconds for which repositories are judged by retention rules."""


def compute_report(
    catalog: Catalog,
    *,
    now: datetime,
    grace: str = GRACE,
    keep: str = GRACE,
    clock: Callable[[], float] = time.monotonic,
) -> SpaceReport:
    """Return what is held, what is shared, and what could be freed; it takes seconds where there is much."""
    began = clock()
    usage = catalog.maintenance.usage()
    largest = sorted(usage.repositories, key=lambda one: (-one.bytes, one.name))[:MOST_REPOSITORIES]
    return SpaceReport(
        computed_at=now,
        totals=SpaceTotals(
            held=usage.held,
            blobs=usage.blobs,
            used=usage.used,
            upstream=usage.upstream,
            loose=usage.loose,
            saved=usage.saved,
        ),
        repositories=tuple(RepositorySpace(name=one.name, bytes=one.bytes, shared=one.shared) for one in largest),
        total_repositories=len(usage.repositories),
        gc=_forecast_gc(catalog, grace),
        reclaim=_forecast_reclaim(catalog, keep),
        retention=_forecast_retention(catalog, now, clock),
        seconds=round(clock() - began, 3),
    )


def _forecast_gc(catalog: Catalog, grace: str) -> GcForecast:
    found = catalog.maintenance.sweep(grace=parse_duration(grace).total_seconds(), dry_run=True)
    return GcForecast(blobs=found.freed_blobs, bytes=found.freed_bytes, leased=found.leased, grace=grace)


def _forecast_reclaim(catalog: Catalog, keep: str) -> ReclaimForecast:
    found = catalog.maintenance.reclaimable(catalog.snapshots.names(), keep=parse_duration(keep).total_seconds())
    return ReclaimForecast(blobs=len(found), bytes=sum(blob.size for blob in found), keep=keep)


def _forecast_retention(catalog: Catalog, now: datetime, clock: Callable[[], float]) -> RetentionForecast:
    rules = catalog.retention_rules.all()
    going: list[Item] = []
    judged, size, until, is_cut = 0, 0, clock() + RETENTION_SECONDS, False
    for name in catalog.snapshots.names() if rules else ():
        fitting = [rule for rule in rules if rule.fits(name)]
        base = catalog.snapshots.find(name) if fitting else None
        if base is None:
            continue
        if clock() > until:
            is_cut = True
            break
        plan = plan_for(catalog, base, fitting, now)
        numbers = list(catalog.snapshots.timeline(name).existing)
        if any(item.goes for item in plan.items):
            numbers.append(max(numbers) + 1)  # the version that a run would make
        going += [item for item in (*plan.items, *plan_versions_of(catalog, name, fitting, numbers)) if item.goes]
        size += base.size_bytes - plan.left.size_bytes
        judged += 1
    kinds = [item.kind for item in going]
    return RetentionForecast(
        rules=len(rules),
        repositories=judged,
        tags=kinds.count("tag"),
        manifests=kinds.count("manifest"),
        versions=kinds.count("version"),
        bytes=size,
        is_cut=is_cut,
    )
