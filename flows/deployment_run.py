"""Runs a deployment on its worker and follows it to its end."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType

_POLL = 0.5
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
        last = Followed("")
        started = time.monotonic()
        while True:
            check()
            state = client.read_flow_run(run.id).state
            name = (state.name if state else None) or "Unknown"
            if state is not None and state.is_final():
                return Ended(str(run.id), state.is_completed(), name, state.message or "")
            now = _follow(client, run.id, name)
            if now.state in ("Scheduled", "Late") and time.monotonic() - started > _NOT_PICKED_UP:
                now = Followed(f"{now.state}: no worker has taken it yet")
            if now != last:
                on_change(now)
                last = now
            time.sleep(_POLL)


def _follow(client: SyncPrefectClient, run_id: UUID, state: str) -> Followed:
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), type=ArtifactFilterType(any_=["progress"])
    )
    found = client.read_artifacts(artifact_filter=wanted, limit=1)
    if not found or not isinstance(found[0].data, int | float):
        return Followed(state)
    return Followed(state, float(found[0].data), found[0].description or "")
