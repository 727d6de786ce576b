"""How many flow runs talk to one upstream at a time, over all workers: a Prefect concurrency limit each."""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException

DEFAULT_LIMIT = 4
"""Slots of a limit that is made here; operators change it in Prefect, and it stays as they leave it."""

LEASE = 60.0
"""Seconds after which the slot of a killed process is free again."""


def limit_name(registry: str) -> str:
    """The name of an upstream's limit."""
    return f"upstream-{re.sub('[^A-Za-z0-9.-]+', '-', registry)}"


async def _ensure_limit(registry: str) -> None:
    """Make the upstream's limit where there is none; without it flows run all the same, unlimited."""
    name = limit_name(registry)
    try:
        async with get_client() as client:
            try:
                await client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                await client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=name, limit=DEFAULT_LIMIT)
                )
    except ObjectAlreadyExists:
        return  # another flow has just made it
    except (PrefectException, httpx.HTTPError) as error:
        get_run_logger().warning("no concurrency limit for %s: %s", registry, error)


@asynccontextmanager
async def upstream_slots(registries: Iterable[str]) -> AsyncIterator[None]:
    """Hold one slot of each upstream's limit; always in the same order, so that no two runs wait for each other."""
    async with AsyncExitStack() as stack:
        for registry in sorted(set(registries)):
            await stack.enter_async_context(upstream_slot(registry))
        yield


@asynccontextmanager
async def upstream_slot(registry: str) -> AsyncIterator[None]:
    """Hold one slot of the upstream's limit, which is made where there is none.

    One for a whole run, not one for each of its tasks: those follow each other anyway, and a slot asked for while Prefect's
    server records the end of a task is refused on SQLite, and granted two seconds later.
    """
    await _ensure_limit(registry)
    async with concurrency(limit_name(registry), lease_duration=LEASE, strict=False):
        yield
