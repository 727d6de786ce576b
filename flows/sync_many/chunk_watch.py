"""What a chunk's process looks at while it works: whether its flow run is still its own, and whether anybody waits for it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect import get_client
from prefect.exceptions import PrefectException

from flows.recovery.orphans import is_run_over

LOOK_SECONDS = 5.0
_Result = TypeVar("_Result")


class StopKind(Enum):
    """How a process stops: its run ends as cancelled, or goes on elsewhere without it."""

    CANCEL = "cancel"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a process stops, and how."""

    kind: StopKind
    text: str


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a flow run at Prefect; each is made once, so that its id tells whether it is the same still."""

    id: str
    type: str
    since: datetime


def latest_state(found: Sequence[Mapping[str, Any]]) -> RunState | None:
    """Return the last of a flow run's states, as Prefect's API gives them; None for a run that has none, or is deleted."""
    states = [RunState(str(one["id"]), str(one["type"]), datetime.fromisoformat(one["timestamp"])) for one in found]
    return max(states, key=lambda one: one.since, default=None)


def reason_to_stop(
    first: RunState | None, own: RunState | None, parent: RunState | None, now: datetime, *, parent_is_deployed: bool
) -> StopReason | None:
    """Return why a process that has begun in state `first` stops; None where it goes on.

    A run that was started again has another process now. A run whose parent is over, or being cancelled, has nobody who waits.
    """
    if own is None or own.type in ("CANCELLING", "CANCELLED"):
        return StopReason(StopKind.CANCEL, "the chunk was cancelled")
    if first is not None and own.id != first.id:
        return StopReason(StopKind.LEAVE, "the chunk was given to another process")
    if parent is None or is_run_over(parent.type, parent.since, now, has_deployment=parent_is_deployed):
        return StopReason(StopKind.CANCEL, "the run that this chunk belongs to has ended")
    return None


ReadStates = Callable[[str], Awaitable[RunState | None]]


async def read_state(run_id: str) -> RunState | None:
    """Ask Prefect for the state of a flow run, without its parameters, which may be large."""
    async with get_client() as client:
        answer = await client.request("GET", "/flow_run_states/", params={"flow_run_id": run_id})
        return latest_state(answer.json())


async def is_deployed(run_id: str) -> bool:
    """Return whether a flow run is one of a deployment, so that it may be started again."""
    async with get_client() as client:
        return (await client.read_flow_run(UUID(run_id))).deployment_id is not None


class ChunkWatch:
    """Looks at the flow run of a chunk, and at its parent. `parent` is empty for a chunk that somebody has started by hand."""

    def __init__(
        self,
        own: str,
        parent: str,
        *,
        read: ReadStates = read_state,
        ask_deployed: Callable[[str], Awaitable[bool]] = is_deployed,
        every: float = LOOK_SECONDS,
    ) -> None:
        self._own, self._parent, self._read, self._ask_deployed, self._every = own, parent, read, ask_deployed, every
        self._first: RunState | None = None
        self._is_deployed: bool | None = None

    async def look(self) -> StopReason | None:
        """Return why to stop, if there is a reason. A server that does not answer is none."""
        if not self._parent:
            return None
        with suppress(PrefectException, httpx.HTTPError):
            own, parent = await self._read(self._own), await self._read(self._parent)
            self._first = self._first or own
            if self._is_deployed is None and parent is not None:
                self._is_deployed = await self._ask_deployed(self._parent)
            now, is_deployed = datetime.now(UTC), bool(self._is_deployed)
            return reason_to_stop(self._first, own, parent, now, parent_is_deployed=is_deployed)
        return None

    async def run(self, work: Coroutine[Any, Any, _Result]) -> "_Result | StopReason":
        """Do work until it ends or there is a reason to stop; the work is cancelled then. A first look comes before it."""
        reason = await self.look()
        if reason is not None:
            work.close()
            return reason
        working, looking = asyncio.create_task(work), asyncio.create_task(self._await_reason())
        try:
            await asyncio.wait({working, looking}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            return looking.result()
        finally:
            for task in (working, looking):
                task.cancel()
            await asyncio.gather(working, looking, return_exceptions=True)

    async def _await_reason(self) -> StopReason:
        while True:
            await asyncio.sleep(self._every)
            if (reason := await self.look()) is not None:
                return reason
