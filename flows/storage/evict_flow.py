"""The flow `evict-cache`: caches let go what was not used for long, and layers where they have grown too large."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from catalog.blobs.index import BlobRecord
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.maintenance.cache_eviction import Unused, Uses, plan_size, plan_unused
from catalog.path_patterns import select_paths
from catalog.units import format_size, parse_duration
from catalog.versions.changes import Change
from catalog.versions.snapshot import Snapshot
from flows.engine.current import recorded_run_id, run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.operation import Operation, perform
from flows.storage.evict_request import CacheState, Evicted, EvictRequest, EvictResult
from flows.storage.reclaim_flow import ReclaimJob, reclaim_blobs
from oci.digest import Digest
from oci.errors import DistributionUnknown

_SHOWN = 1000
"""Rows of the table that Prefect shows; the result has all."""


class Eviction:
    """One cache's eviction under way. No dataclass, so that Prefect does not walk through it looking for other tasks' results.

    `gone` are the blobs, with their repositories, that a dry run would take from the latest versions.
    """

    __slots__ = ("cache", "catalog", "evicted", "gone", "kept", "names", "now", "request", "run_id")

    def __init__(
        self,
        catalog: Catalog,
        cache: Distribution,
        names: Sequence[str],
        request: EvictRequest,
        *,
        now: datetime,
        run_id: str,
    ) -> None:
        self.catalog, self.cache, self.names, self.request = catalog, cache, names, request
        self.now, self.run_id = now, run_id
        self.evicted: list[Evicted] = []
        self.kept: dict[str, str] = {}
        self.gone: set[tuple[str, Digest]] = set()

    @property
    def keep(self) -> float:
        """Seconds for which layers stay that were fetched or pulled."""
        return parse_duration(self.request.keep).total_seconds()


@task(name="evict-unused")
async def evict_unused(eviction: Eviction) -> None:
    """Take away the tags and manifests that were not used for the cache's days, one version for each repository."""
    await asyncio.to_thread(_evict_unused, eviction)


def _evict_unused(eviction: Eviction) -> None:
    before = eviction.now - timedelta(days=eviction.cache.cache.keep_unused_days)
    for name, uses in eviction.catalog.maintenance.caches.uses(eviction.names, eviction.now).items():
        if uses.may_have_unused(before):
            _evict_from(eviction, name, uses, before)


def _evict_from(eviction: Eviction, name: str, uses: Uses, before: datetime) -> None:
    """Take away what one repository has unused."""
    catalog, path, days = eviction.catalog, eviction.cache.path, eviction.cache.cache.keep_unused_days
    planned: list[Unused] = []

    def plan(base: Snapshot) -> Sequence[Change]:
        planned.append(plan_unused(base, catalog.history.children(name), uses, before=before))
        return planned[-1].changes

    operation = Operation(name, "evict", f"not used for {days:g} days", plan)
    done = perform(
        catalog,
        operation,
        actor=f"cache {path}",
        run_id=eviction.run_id,
        flow_run_id=recorded_run_id(),
        now=eviction.now,
        dry_run=eviction.request.dry_run,
    )
    unused = planned[-1]
    eviction.evicted += [Evicted(path, "tag", name, tag, reason) for tag, reason in unused.tags.items()]
    eviction.evicted += [Evicted(path, "manifest", name, one, reason) for one, reason in unused.manifests.items()]
    if done.dry_run:
        eviction.gone |= {(name, digest) for digest in done.delta.blobs_removed}


async def evict_layers(eviction: Eviction) -> CacheState:
    """Free the bytes of layers that only earlier versions hold, where the cache keeps nothing unused; then, as long as the cache
    is above its size, of those that were used longest ago."""
    catalog, rules = eviction.catalog, eviction.cache.cache
    blobs = await asyncio.to_thread(catalog.maintenance.caches.blobs, eviction.names)
    held = before = sum(one.blob.size for one in blobs)
    free = {
        one.digest
        for one in await asyncio.to_thread(catalog.maintenance.reclaimable, eviction.names, keep=eviction.keep)
    }
    if rules.keep_unused_days:
        live = {
            digest
            for _, digest in await asyncio.to_thread(catalog.maintenance.caches.live_blobs, eviction.names)
            - eviction.gone
        }
        chosen = [one.blob for one in blobs if one.blob.digest in free - live]
        held -= await _reclaim(eviction, chosen, "in no latest version")
        free -= {one.digest for one in chosen}
    while rules.max_size and held > rules.max_size:
        planned = plan_size([one for one in blobs if one.blob.digest in free], held=held, most=rules.max_size)
        if not planned:
            excess = format_size(held - rules.max_size)
            run_logger().warning("cache %s is %s above its size, which must stay", eviction.cache.path, excess)
            break
        held -= await _reclaim(eviction, [one.blob for one in planned], "used longest ago")
        free -= {one.blob.digest for one in planned}
    return CacheState(eviction.cache.path, before, held, rules.max_size, rules.keep_unused_days)


async def _reclaim(eviction: Eviction, blobs: Sequence[BlobRecord], reason: str) -> int:
    """Free those of the blobs that may go; return how many bytes went."""
    job = ReclaimJob(eviction.catalog, eviction.names, eviction.keep, blobs)
    await reclaim_blobs(job, check=eviction.request.check, dry_run=eviction.request.dry_run)
    path = eviction.cache.path
    eviction.evicted += [Evicted(path, "layer", "", str(one.digest), reason, one.size) for one in job.blobs]
    eviction.kept.update(job.kept)
    return sum(one.size for one in job.blobs)


@flow(name="evict-cache", flow_run_name="evict from caches")
async def evict_cache(request: EvictRequest) -> FlowEnd[EvictResult]:
    """Let go what caches are not to keep by their limits. Killed at any point, the next run lets the rest go."""
    async with opened_catalog() as catalog:
        result = await _run(catalog, request)
    await table_artifact("evict", "caches", result.summary(), [_row(one) for one in result.evicted[:_SHOWN]])
    run_logger().info(result.summary())
    return completed(result.summary(), result)


async def _run(catalog: Catalog, request: EvictRequest) -> EvictResult:
    evicted: list[Evicted] = []
    kept: dict[str, str] = {}
    states: list[CacheState] = []
    for cache in select_caches(catalog.distributions.caches(), request.caches):
        if not cache.cache.max_size and not cache.cache.keep_unused_days:
            continue
        names = await asyncio.to_thread(catalog.maintenance.caches.repositories, cache.path)
        eviction = Eviction(catalog, cache, names, request, now=datetime.now(UTC), run_id=run_id())
        if cache.cache.keep_unused_days:
            await evict_unused(eviction)
        states.append(await evict_layers(eviction))
        evicted += eviction.evicted
        kept.update(eviction.kept)
    return EvictResult(tuple(evicted), tuple(states), kept, request.dry_run, recorded_run_id())


def select_caches(caches: Iterable[Distribution], patterns: Sequence[str]) -> list[Distribution]:
    """The caches whose paths fit a pattern, by path, all without patterns; raise DistributionUnknown when there is none."""
    by_path = {one.path: one for one in sorted(caches, key=lambda one: one.path)}
    chosen = select_paths(by_path, include=patterns)
    if patterns and not chosen:
        raise DistributionUnknown(f"no cache fits {', '.join(patterns)}; `entrepot distribution list` shows them")
    return [by_path[path] for path in chosen]


def _row(one: Evicted) -> dict[str, object]:
    return {
        "cache": one.cache,
        "what": one.what,
        "repository": one.repository,
        "name": one.name,
        "reason": one.reason,
        "bytes": one.size,
    }
