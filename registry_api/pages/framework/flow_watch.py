"""What Prefect says of flows, kept for some seconds; a page never waits long for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from catalog.settings import Settings
from oci.errors import EntrepotError
from registry_api.metrics.flow_runs import ask_prefect, flow_figures
from registry_api.metrics.siblings import Numbers

_T = TypeVar("_T")
_KEPT = 15.0
"""Seconds for which an answer is shown again."""

_PATIENCE = 0.25
"""Seconds that a page waits; what is answered later is for the next page."""
_MOST = 20
_IN_PROGRESS = {
    "tags": {"all_": ["entrepot"]},
    "state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}},
}


@dataclass(frozen=True, slots=True)
class FlowStates:
    """Runs by state; deployments whose last run failed, with when; and by repository when its sync last completed."""

    runs: dict[str, int] = field(default_factory=dict)
    failed: dict[str, datetime] = field(default_factory=dict)
    synced: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunInProgress:
    """A flow run of ours that is under way, and since when, if it has begun."""

    id: str
    name: str
    state: str
    began_at: datetime | None


def read_figures(figures: Numbers) -> FlowStates:
    """Return the states that the metrics of flows stand for. Pure."""

    def times(name: str) -> dict[str, datetime]:
        return {key[1]: datetime.fromtimestamp(value, UTC) for key, value in figures.items() if key[0] == name}

    succeeded = times("flow_last_success_timestamp_seconds")
    failures = times("flow_last_failure_timestamp_seconds")
    return FlowStates(
        {key[1]: int(value) for key, value in figures.items() if key[0] == "flow_runs"},
        {name: at for name, at in failures.items() if name not in succeeded or succeeded[name] < at},
        times("sync_last_success_timestamp_seconds"),
    )


def read_run_in_progress(run: dict[str, Any]) -> RunInProgress:
    """Return a flow run from Prefect's document; raise KeyError, ValueError or TypeError for another one. Pure."""
    began = run.get("start_time")
    at = datetime.fromisoformat(str(began)) if began else None
    return RunInProgress(str(run["id"]), str(run["name"])[:300], str(run["state_name"])[:100], at)


async def ask_flow_states(settings: Settings) -> FlowStates | None:
    """Return what Prefect says of all flows, None without a server; raise RemoteUnavailable where it does not answer."""
    figures = await flow_figures(settings)
    return read_figures(figures) if figures else None


async def ask_runs_in_progress(settings: Settings) -> tuple[RunInProgress, ...] | None:
    """Return the flow runs under way, the last begun first, None without a server; raise RemoteUnavailable."""
    body = {"flow_runs": _IN_PROGRESS, "sort": "START_TIME_DESC", "limit": _MOST}

    def read(found: Any) -> tuple[RunInProgress, ...]:
        return tuple(map(read_run_in_progress, found))

    return await ask_prefect(settings, "/flow_runs/filter", body, read)


class PrefectWatch(Generic[_T]):
    """Asks Prefect when somebody looks; for one event loop."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[_T | None]],
        *,
        kept: float = _KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._kept, self._clock = ask, kept, clock
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._latest: _T | None = None

    async def look(self, *, patience: float = _PATIENCE) -> _T | None:
        """Return what Prefect says, None where it does not answer or answers nothing yet."""
        if self._asking is None and self._clock() - self._asked_at >= self._kept:
            self._asking = asyncio.ensure_future(self._learn())
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=patience)
        return self._latest

    async def _learn(self) -> None:
        try:
            self._latest = await self._ask()
        except (EntrepotError, OSError):  # it is away, or its address cannot be read
            self._latest = None
        finally:
            self._asked_at, self._asking = self._clock(), None

    async def close(self) -> None:
        """End what is asked for."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
