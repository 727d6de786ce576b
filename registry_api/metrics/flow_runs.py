"""What Prefect says of our flows: how many run and wait, and when each deployment and each sync last succeeded."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from catalog.prefect.run_parameters import flat_parameters
from catalog.settings import Settings
from oci.errors import EntrepotError, RemoteUnavailable
from oci.remote.address import parse_remote
from registry_api.metrics.siblings import Numbers

if TYPE_CHECKING:
    import httpx

_T = TypeVar("_T")
_OURS = {"tags": {"all_": ["entrepot"]}}
_STATES = {
    "running": {"type": {"any_": ["RUNNING"]}},
    "pending": {"type": {"any_": ["PENDING"]}},
    "late": {"name": {"any_": ["Late"]}},
    "waiting for a slot": {"name": {"any_": ["AwaitingConcurrencySlot"]}},
}
"""The states that are counted, as Prefect's filters select them."""
_ENDS = {"success": ["COMPLETED"], "failure": ["FAILED", "CRASHED"]}
_LOOKED_AT = 200
"""Runs that are looked at, the last that ended, and deployments: as many as Prefect gives at once."""
_PATIENCE = 4.0
SYNC = "sync-repository"
"""The deployment whose runs are told by repository too."""


async def flow_figures(settings: Settings) -> Numbers:
    """Return the gauges of flows; none without a Prefect server. Raise RemoteUnavailable where it does not answer."""
    return await _talk(settings, _ask) or {}


async def ask_prefect(
    settings: Settings, path: str, body: Mapping[str, object], read: Callable[[Any], _T]
) -> _T | None:
    """Return what `read` makes of Prefect's answer to a question; None without a server. Raise RemoteUnavailable."""

    async def ask(client: "httpx.AsyncClient") -> _T:
        return read(await _post(client, path, body))

    return await _talk(settings, ask)


async def _talk(settings: Settings, ask: "Callable[[httpx.AsyncClient], Awaitable[_T]]") -> _T | None:
    client = await asyncio.to_thread(_connect, settings)
    if client is None:
        return None
    import httpx

    try:
        async with client:
            client.timeout = _PATIENCE
            return await ask(client)
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:  # it is a server of somebody else's, perhaps
        raise RemoteUnavailable(f"Prefect does not answer: {type(error).__name__}", registry="prefect") from None


def _connect(settings: Settings) -> "httpx.AsyncClient | None":
    """Return a client of Prefect's API, None where no server is known; it loads the HTTP client, and reads files."""
    from registry_api.webhooks.prefect_client import find_prefect_api, prefect_client

    try:
        return prefect_client(settings, find_prefect_api(settings), os.environ)
    except RemoteUnavailable:
        return None


async def _ask(client: "httpx.AsyncClient") -> Numbers:
    figures: dict[tuple[str, ...], float] = {}
    for state, wanted in _STATES.items():
        body = {"flow_runs": {"state": wanted}, "deployments": _OURS}
        figures["flow_runs", state] = float(await _post(client, "/flow_runs/count", body))
    found = await _post(client, "/deployments/filter", {"deployments": _OURS, "limit": _LOOKED_AT})
    names = {one["id"]: str(one["name"]) for one in found}
    for end, types in _ENDS.items():
        body = {"flow_runs": {"state": {"type": {"any_": types}}}, "deployments": _OURS}
        runs = await _post(client, "/flow_runs/filter", {**body, "sort": "END_TIME_DESC", "limit": _LOOKED_AT})
        for run in runs:
            name, at = names.get(run["deployment_id"]), run.get("end_time")
            if name is None or not at:
                continue
            seconds = datetime.fromisoformat(str(at)).timestamp()
            figures.setdefault((f"flow_last_{end}_timestamp_seconds", name), seconds)
            if name == SYNC and end == "success" and (repository := synced_repository(run.get("parameters") or {})):
                figures.setdefault(("sync_last_success_timestamp_seconds", repository), seconds)
    return figures


async def _post(client: "httpx.AsyncClient", path: str, body: Mapping[str, object]) -> Any:
    response = await client.post(path, json=body)
    response.raise_for_status()
    return response.json()


def synced_repository(parameters: Mapping[str, Any]) -> str:
    """Return the repository that a sync's parameters name; empty for parameters that name none."""
    fields = flat_parameters(parameters)
    try:
        return str(fields.get("repository") or parse_remote(str(fields.get("remote", ""))).reference.repository)
    except EntrepotError:
        return ""
