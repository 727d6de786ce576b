"""Slots as Prefect's own client asks for them, within runs of Prefect's engine."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any
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
from prefect.exceptions import ObjectAlreadyExists, PrefectException
from prefect.runtime import flow_run

from flows.engine.slots import ASK_AGAIN, DEFAULT_LIMIT, LEASE, SlotTimeout, tell_holders


class PrefectSlots:
    """Limits of the Prefect server of this run."""

    @asynccontextmanager
    async def hold(self, limit: str, patience: float) -> AsyncIterator[None]:
        """Hold one slot while the context is open; raise SlotTimeout."""
        async with AsyncExitStack() as stack:
            try:
                await _enter(stack, limit, patience)
            except AcquireConcurrencySlotTimeoutError:
                raise SlotTimeout from None
            yield

    async def describe(self, limit: str, registry: str) -> str:
        """Return who holds the slots; raise LookupError."""
        try:
            async with get_client() as client:

                async def ask(method: str, path: str, body: Mapping[str, object] | None) -> Any:
                    return (await client.request(method, path, json=body)).json()  # type: ignore[arg-type]

                return await tell_holders(ask, limit, registry, own=str(flow_run.id))
        except (PrefectException, httpx.HTTPError) as error:
            raise LookupError(str(error)) from None


async def _enter(stack: AsyncExitStack, limit: str, patience: float) -> None:
    """Wait for a slot; one request where there is a limit, which is nearly always. A server that is too busy is asked again."""
    is_known, until = True, time.monotonic() + patience
    while True:
        left = max(until - time.monotonic(), 1.0)
        try:
            await stack.enter_async_context(_slot(limit, left, strict=is_known))
        except ConcurrencySlotAcquisitionError as error:
            if error.__cause__ is None:  # there is no limit: that has no other cause
                await _make_limit(limit)
                is_known = False
            elif time.monotonic() >= until:
                raise
            else:
                get_run_logger().warning("%s; it is asked again", error)
                await asyncio.sleep(ASK_AGAIN)
        else:
            return


async def _make_limit(limit: str) -> None:
    """Make a limit; without it flows run all the same, unlimited."""
    try:
        async with get_client() as client:
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit, limit=DEFAULT_LIMIT))
    except ObjectAlreadyExists:
        return  # another flow has just made it
    except (PrefectException, httpx.HTTPError) as error:
        get_run_logger().warning("no concurrency limit %s: %s", limit, error)


def _slot(limit: str, patience: float, *, strict: bool) -> AbstractAsyncContextManager[None]:
    """Return a slot to enter; `strict` raises ConcurrencySlotAcquisitionError where there is no limit."""
    return concurrency(
        limit,
        lease_duration=LEASE,
        strict=strict,
        timeout_seconds=patience,
        holder=ConcurrencyLeaseHolder(type="flow_run", id=UUID(str(flow_run.id))) if flow_run.id else None,
        raise_on_lease_renewal_failure=False,
    )
