"""Gives back slots of concurrency limits that nobody holds: taken by a server that was killed before it noted for whom."""

import asyncio
import logging
from collections import Counter
from typing import Any
from uuid import UUID

from prefect.server.concurrency.lease_storage import get_concurrency_lease_storage

from flows.recovery.reaper import Ask

log = logging.getLogger(__name__)

PREFIX = "upstream-"
"""Limits of ours; others are their makers'."""
_APART = 2.0
"""Seconds between two looks: a slot is taken a moment before its lease is written."""


def surplus(active: int, leased: int) -> int:
    """Return how many slots are taken by nobody."""
    return max(active - leased, 0)


async def give_back_lost_slots(ask: Ask) -> dict[str, int]:
    """Return how many slots of which limit were given back: those that two looks have found without a lease."""
    first = {limit["id"]: surplus(limit["active_slots"], leased) for limit, leased in await _look(ask)}
    if not any(first.values()):
        return {}
    await asyncio.sleep(_APART)
    given: dict[str, int] = {}
    for limit, leased in await _look(ask):
        count = min(surplus(limit["active_slots"], leased), first.get(limit["id"], 0))
        if count:
            await ask("PATCH", f"/v2/concurrency_limits/{limit['id']}", {"active_slots": limit["active_slots"] - count})
            given[limit["name"]] = count
            log.warning("freed %s slots of %s that no flow run held", count, limit["name"])
    return given


async def _look(ask: Ask) -> list[tuple[dict[str, Any], int]]:
    """Each limit of ours, with how many of its slots have a lease."""
    limits = await ask("POST", "/v2/concurrency_limits/filter", {"limit": 200})
    leased = await _leased()
    return [(limit, leased[UUID(limit["id"])]) for limit in limits if limit["name"].startswith(PREFIX)]


async def _leased() -> Counter[UUID]:
    """Return how many slots of each limit have a lease, those too that have run out and are about to be given back."""
    storage = get_concurrency_lease_storage()
    found: Counter[UUID] = Counter()
    running = await storage.read_active_lease_ids(limit=10_000)
    for lease_id in {*running, *await storage.read_expired_lease_ids(limit=10_000)}:
        lease = await storage.read_lease(lease_id)
        if lease is not None and lease.metadata is not None:
            found.update(dict.fromkeys(lease.resource_ids, lease.metadata.slots))
    return found
