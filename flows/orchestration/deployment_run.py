"""Runs a deployment on its worker and follows it to its end."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException
from prefect.states import Cancelled

_POLL = 0.5
_CRASHED_LOOKS = 60
"""So often in turn must a run be seen as crashed: until then a look for orphans may start it again."""
_NOT_PICKED_UP = 60.0


@dataclass(frozen=True, slots=True)
class Followed:
    """Where a flow run is; `percent` and `progress` come from its progress artifact."""

    state: str
    percent: float = 0.0
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a flow run ended; `message` is that of its last state."""

    id: str
    is_completed: bool
    state: str
    message: str


def run_deployment(
    full_name: str,
    parameters: Mapping[str, Any],
    *,
    on_start: Callable[[str], None],
    on_change: Callable[[Followed], None],
    check: Callable[[], None],
) -> Ended:
    """Start a flow run and wait for its end.

    `on_start` is given its id, `on_change` each new state or progress; `check` may raise, to end the waiting.
    """
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(full_name)
        run = client.create_flow_run_from_deployment(deployment.id, parameters=dict(parameters))
        on_start(str(run.id))
        try:
            return _await_end(client, run.id, on_change, check)
        except BaseException:
            _cancel(client, run.id)
            raise


def _await_end(
    client: SyncPrefectClient, run_id: UUID, on_change: Callable[[Followed], None], check: Callable[[], None]
) -> Ended:
    last, started, crashed = Followed(""), time.monotonic(), 0
    while True:
        check()
        state = client.read_flow_run(run_id).state
        name = (state.name if state else None) or "Unknown"
        crashed = crashed + 1 if state is not None and state.is_crashed() else 0
        if state is not None and state.is_final() and not 0 < crashed < _CRASHED_LOOKS:
            return Ended(str(run_id), state.is_completed(), name, state.message or "")
        now = _follow(client, run_id, name)
        if name in ("Scheduled", "Late") and time.monotonic() - started > _NOT_PICKED_UP:
            now = Followed(f"{name}: no worker has taken it yet")
        if now != last:
            on_change(now)
            last = now
        time.sleep(_POLL)


def _cancel(client: SyncPrefectClient, run_id: UUID) -> None:
    """Whoever waited has gone; without this, the run would start when a worker comes back."""
    with suppress(PrefectException, httpx.HTTPError):
        client.set_flow_run_state(run_id, Cancelled(message="entrepot up was stopped"), force=True)


def _follow(client: SyncPrefectClient, run_id: UUID, state: str) -> Followed:
    # Asked for without the client's own method: it sends nulls, which servers refuse with some releases of FastAPI.
    wanted = {"artifacts": {"flow_run_id": {"any_": [str(run_id)]}, "type": {"any_": ["progress"]}}, "limit": 1}
    found = client.request("POST", "/artifacts/filter", json=wanted).json()
    if not found or not isinstance(found[0].get("data"), int | float):
        return Followed(state)
    return Followed(state, float(found[0]["data"]), found[0].get("description") or "")
