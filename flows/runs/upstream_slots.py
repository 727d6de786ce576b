"""How many flow runs talk to one upstream at a time, over all workers and commands: a concurrency limit each."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from catalog.settings import read_settings
from flows.engine.current import direct_run, run_logger
from flows.engine.slots import RunSlots, SlotTimeout
from flows.runs.progress import watched
from oci.errors import LocalError

QUIET_SECONDS, TELL_AGAIN = 3.0, 60.0
"""Seconds of waiting before it is told, and before it is told again."""


class NoFreeSlot(LocalError):
    """No slot of an upstream's concurrency limit came free in time."""

    retryable = True


def limit_name(registry: str) -> str:
    """The name of an upstream's limit."""
    return f"upstream-{re.sub('[^A-Za-z0-9.-]+', '-', registry)}"


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
    patience, slots = read_settings().slot_timeout, _slots()
    async with AsyncExitStack() as stack:
        telling = asyncio.create_task(_tell_waiting(slots, registry))
        try:
            await stack.enter_async_context(slots.hold(limit_name(registry), patience))
        except SlotTimeout:
            waited = await _waiting_for(slots, registry)
            raise NoFreeSlot(f"{waited}; none came free within {patience:.0f} s (ENTREPOT_SLOT_TIMEOUT)") from None
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        yield


def _slots() -> RunSlots:
    """Return who counts the slots for this run."""
    if (run := direct_run()) is not None:
        return run.slots
    from flows.engine.prefect_slots import PrefectSlots

    return PrefectSlots()


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


async def _tell_waiting(slots: RunSlots, registry: str) -> None:
    """Say what is waited for, and who holds it, now and then until this is cancelled."""
    await asyncio.sleep(QUIET_SECONDS)
    while True:
        text = await _waiting_for(slots, registry)
        run_logger().warning(text)
        if (progress := watched.get()) is not None:
            progress.tell(text)
        await asyncio.sleep(TELL_AGAIN)


async def _waiting_for(slots: RunSlots, registry: str) -> str:
    name = limit_name(registry)
    try:
        return f"waiting for a slot of {name}: {await slots.describe(name, registry)}"
    except LookupError as error:
        return f"waiting for a slot of {name}; Prefect does not say who holds them: {error}"
