"""How many chunks can run at once: what Prefect says of their work pool, of its queue, and of its workers."""

from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from prefect import get_client
from prefect.exceptions import ObjectNotFound, PrefectException

CHUNK_DEPLOYMENT = "sync-chunk/sync-chunk"


@dataclass(frozen=True, slots=True)
class PoolState:
    """A work pool as chunks see it: limits of the pool and the queue (None: no limit), and workers that are there.

    `chunk_limit` is that of the chunks' deployment.
    """

    name: str
    limits: tuple[int | None, ...] = ()
    workers: int = 0
    is_paused: bool = False
    chunk_limit: int | None = None


def slots_of(pool: PoolState | None, *, own_pool: str | None) -> int:
    """Return how many chunks can run at once; 0 where nobody would take one.

    A pool without a limit counts one slot for each worker. A run that is itself a flow run of the pool holds one of its limit.
    """
    if pool is None or pool.is_paused or not pool.workers:
        return 0
    limit = least(pool.limits)
    free = pool.workers if limit is None else max(limit - (own_pool == pool.name), 0)
    return free if pool.chunk_limit is None else min(free, pool.chunk_limit)


def least(limits: Iterable[int | None]) -> int | None:
    """Return the least of the limits that there are."""
    return min((limit for limit in limits if limit is not None), default=None)


async def read_pool() -> PoolState | None:
    """Ask Prefect for the pool of the chunks' deployment; None where there is none, or nobody answers."""
    try:
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(CHUNK_DEPLOYMENT)
            name = deployment.work_pool_name
            if not name:
                return None
            pool = await client.read_work_pool(name)
            queue = await client.read_work_queue_by_name(deployment.work_queue_name or "default", name)
            workers = await client.read_workers_for_work_pool(name)
    except (ObjectNotFound, PrefectException, httpx.HTTPError):
        return None
    online = sum(str(getattr(worker.status, "value", worker.status)) == "ONLINE" for worker in workers)
    paused = bool(pool.is_paused or queue.is_paused or deployment.paused)
    own = deployment.global_concurrency_limit
    limits = (pool.concurrency_limit, queue.concurrency_limit)
    return PoolState(name, limits, online, paused, own.limit if own else None)
