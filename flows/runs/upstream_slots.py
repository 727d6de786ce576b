"""How many flow runs talk to one upstream at a time, over all workers: a Prefect concurrency limit each."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect import get_client, get_run_logger
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
    concurrency,
)
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException
from prefect.runtime import flow_run

from catalog.settings import read_settings
from flows.runs.progress import watched
from oci.errors import LocalError

DEFAULT_LIMIT = 4
"""Slots of a limit that is made here; operators change it in Prefect, and it stays as they leave it."""

LEASE = 60.0
"""Seconds after which the slot of a killed process is free again; the shortest that Prefect allows."""

ASK_AGAIN = 5.0
"""Seconds before a server that failed is asked for a slot again; its client has tried for longer before."""

QUIET_SECONDS, TELL_AGAIN = 3.0, 60.0
"""Seconds of waiting before it is told, and before it is told again."""
_MAX_NAMED = 5


class NoFreeSlot(LocalError):
    """No slot of an upstream's concurrency limit came free in time."""

    retryable = True


def limit_name(registry: str) -> str:
    """The name of an upstream's limit."""
    return f"upstream-{re.sub('[^A-Za-z0-9.-]+', '-', registry)}"


async def _make_limit(registry: str) -> None:
    """Make the upstream's limit; without it flows run all the same, unlimited."""
    try:
        async with get_client() as client:
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=limit_name(registry), limit=DEFAULT_LIMIT)
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
    """Hold one slot of the upstream's limit, which is made where there is none; raise NoFreeSlot after ENTREPOT_SLOT_TIMEOUT.

    One for a whole run, not one for each of its tasks: those follow each other anyway, and a slot asked for while Prefect's
    server records the end of a task is refused on SQLite, and granted two seconds later.
    """
    patience = read_settings().slot_timeout
    async with AsyncExitStack() as stack:
        telling = asyncio.create_task(_tell_waiting(registry))
        try:
            await _enter(stack, registry, patience)
        except AcquireConcurrencySlotTimeoutError:
            raise NoFreeSlot(
                f"{await _waiting_for(registry)}; none came free within {patience:.0f} s (ENTREPOT_SLOT_TIMEOUT)"
            ) from None
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        yield


class HeldSlot:
    """One slot of an upstream's limit, taken and given back as often as its holder needs it; an async context manager.

    A run that waits for others, which take slots of their own, gives it back: with a limit of one they would wait for each other.
    """

    def __init__(self, registry: str) -> None:
        self._registry, self._stack = registry, AsyncExitStack()
        self._is_held = False

    async def hold(self) -> None:
        """Take the slot, unless it is held already; raise NoFreeSlot."""
        if not self._is_held:
            await self._stack.enter_async_context(upstream_slot(self._registry))
            self._is_held = True

    async def release(self) -> None:
        """Give the slot back."""
        await self._stack.aclose()
        self._is_held = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)


async def _enter(stack: AsyncExitStack, registry: str, patience: float) -> None:
    """Wait for a slot; one request where there is a limit, which is nearly always. A server that is too busy is asked again."""
    is_known, until = True, time.monotonic() + patience
    while True:
        left = max(until - time.monotonic(), 1.0)
        try:
            await stack.enter_async_context(_slot(registry, left, strict=is_known))
        except ConcurrencySlotAcquisitionError as error:
            if error.__cause__ is None:  # there is no limit: that has no other cause
                await _make_limit(registry)
                is_known = False
            elif time.monotonic() >= until:
                raise
            else:
                get_run_logger().warning("%s; it is asked again", error)
                await asyncio.sleep(ASK_AGAIN)
        else:
            return


def _slot(registry: str, patience: float, *, strict: bool) -> AbstractAsyncContextManager[None]:
    """Return a slot to enter; `strict` raises ConcurrencySlotAcquisitionError where there is no limit."""
    return concurrency(
        limit_name(registry),
        lease_duration=LEASE,
        strict=strict,
        timeout_seconds=patience,
        holder=ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(flow_run.id))) if flow_run.id else None,
        raise_on_lease_renewal_failure=False,
    )


async def _tell_waiting(registry: str) -> None:
    """Say what is waited for, and who holds it, now and then until this is cancelled."""
    await asyncio.sleep(QUIET_SECONDS)
    while True:
        text = await _waiting_for(registry)
        get_run_logger().warning(text)
        if (progress := watched.get()) is not None:
            progress.tell(text)
        await asyncio.sleep(TELL_AGAIN)


async def _waiting_for(registry: str) -> str:
    name = limit_name(registry)
    try:
        async with get_client() as client:
            limit = await client.read_global_concurrency_limit_by_name(name)
            wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}, "limit": 200}
            runs = (await client.request("POST", "/flow_runs/filter", json=wanted)).json()
    except (PrefectException, httpx.HTTPError, ObjectNotFound) as error:
        return f"waiting for a slot of {name}; Prefect does not say who holds them: {error}"
    holders = [run["name"] for run in runs if _talks_to(run, registry) and run["id"] != str(flow_run.id)]
    more = f" and {len(holders) - _MAX_NAMED} more" if len(holders) > _MAX_NAMED else ""
    by = (
        f"runs with {registry}: {', '.join(holders[:_MAX_NAMED])}{more}"
        if holders
        else "no run that is under way is known"
    )
    return f"waiting for a slot of {name}: {limit.active_slots} of {limit.limit} are taken; {by}"


def _talks_to(run: Mapping[str, Any], registry: str) -> bool:
    """Return whether a run's parameters name a registry."""
    return f'"{registry}/' in json.dumps(run.get("parameters")) or f'"{registry}"' in json.dumps(run.get("parameters"))
