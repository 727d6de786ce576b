"""What Prefect says of flows, kept for some seconds; a page never waits long for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from oci.errors import EntrepotError
from registry_api.metrics.siblings import Numbers

_KEPT = 15.0
"""Seconds for which an answer is shown again."""

_PATIENCE = 0.25
"""Seconds that a page waits; what is answered later is for the next page."""


@dataclass(frozen=True, slots=True)
class FlowStates:
    """Runs by state; deployments whose last run failed, with when; and by repository when its sync last completed."""

    runs: dict[str, int] = field(default_factory=dict)
    failed: dict[str, datetime] = field(default_factory=dict)
    synced: dict[str, datetime] = field(default_factory=dict)


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


class FlowWatch:
    """Asks Prefect when somebody looks; for one event loop."""

    def __init__(self, ask: Callable[[], Awaitable[Numbers]], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._states: FlowStates | None = None

    async def states(self, *, patience: float = _PATIENCE) -> FlowStates | None:
        """Return what Prefect says, None where it does not answer or answers nothing yet."""
        if self._asking is None and self._clock() - self._asked_at >= _KEPT:
            self._asking = asyncio.ensure_future(self._learn())
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=patience)
        return self._states

    async def _learn(self) -> None:
        try:
            figures = await self._ask()
            self._states = read_figures(figures) if figures else None
        except (EntrepotError, OSError):  # it is away, or its address cannot be read
            self._states = None
        finally:
            self._asked_at, self._asking = self._clock(), None

    async def close(self) -> None:
        """End what is asked for."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
