"""Flow runs that buttons start: the start by Prefect's API, and the page of one run, which asks Prefect for its state."""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel

from catalog.prefect.run_parameters import flat_parameters
from catalog.settings import Settings
from oci.errors import NameUnknown, RemoteError, RemoteUnavailable
from registry_api.pages.framework.formats import prefect_ui_url
from registry_api.pages.framework.visits import CurrentVisit, UnqueuedPageRoute, Visit

if TYPE_CHECKING:
    import httpx

_PATIENCE = 10.0
"""Seconds that Prefect may take to start a run."""
_GLANCE = 3.0
"""Seconds that a page waits for what Prefect says of a run."""
_LONGEST = 1000
_BY = "by:"
"""What the tag of a run begins with that names who started it."""
_ENDS = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


class FlowRunPage(BaseModel):
    """A flow run that a button has started: its state, what came of it so far, and the repository that it changes."""

    id: str
    name: str
    state: str
    result: str
    is_over: bool
    has_failed: bool
    repository: str
    url: str


router = APIRouter(route_class=UnqueuedPageRoute, include_in_schema=False)


@router.get("/flow-run/{run_id}")
@router.get("/flow-run.json/{run_id}")
async def show_flow_run(visit: CurrentVisit, run_id: UUID) -> Response:
    """Show the state of a flow run to who started it, and to administrators."""
    run = await _find_run(visit, run_id)
    return await visit.respond("flow-run.html", lambda visit: read_flow_run(visit, run_id, run), block="results")


async def _find_run(visit: Visit, run_id: UUID) -> Mapping[str, Any]:
    """Return what Prefect says of a run; raise NameUnknown, for one that the visitor may not see too.

    Prefect is asked for nobody without an account.
    """
    if not visit.account:
        raise _unknown(run_id)
    async with visit.site.prefect_requests.turn(visit.cost_key):
        try:
            async with asyncio.timeout(_GLANCE), await asyncio.to_thread(_connect, visit.catalog.settings) as client:
                run = await _read(client, run_id)
        except (RemoteError, TimeoutError) as error:
            if isinstance(error, RemoteError) and getattr(error, "status", None) in {404, 422}:
                raise _unknown(run_id) from None
            raise RemoteUnavailable("Prefect does not answer now; look again in a moment") from None
    tags = run.get("tags") or []
    if not visit.is_administrator and f"{_BY}{visit.account}" not in tags:
        raise _unknown(run_id)
    return run


def _unknown(run_id: UUID) -> NameUnknown:
    return NameUnknown(f"no flow run {run_id} here, or you may not see it")


def read_flow_run(visit: Visit, run_id: UUID, run: Mapping[str, Any]) -> FlowRunPage:
    """Return the view model. Pure."""
    state = run.get("state") or {}
    repository = str(flat_parameters(run.get("parameters") or {}).get("repository") or "")
    kind, ui = str(state.get("type") or ""), prefect_ui_url(visit.catalog.settings)
    return FlowRunPage(
        id=str(run_id),
        name=str(run.get("name") or run_id)[:_LONGEST],
        state=str(state.get("name") or "unknown")[:_LONGEST],
        result=str(state.get("message") or "")[:_LONGEST],
        is_over=kind in _ENDS,
        has_failed=kind in _ENDS - {"COMPLETED"},
        repository=repository if repository and visit.may("pull", repository) else "",
        url=f"{ui}/runs/flow-run/{run_id}" if ui else "",
    )


async def start_flow_run(visit: Visit, deployment: str, parameters: Mapping[str, object], *, key: str) -> str:
    """Start a run of `FLOW/DEPLOYMENT` in the visitor's name, once for each key; return its id. Raise RemoteError."""
    tags = [f"{_BY}{visit.account}"]
    async with visit.site.prefect_requests.turn(visit.cost_key):
        try:
            async with asyncio.timeout(_PATIENCE), await asyncio.to_thread(_connect, visit.catalog.settings) as client:
                from registry_api.webhooks.prefect_client import start_deployment  # loaded by the thread

                return await start_deployment(client, deployment, parameters, key=key, tags=tags)
        except TimeoutError:
            raise RemoteUnavailable("Prefect does not answer", registry="prefect") from None


async def _read(client: "httpx.AsyncClient", run_id: UUID) -> Mapping[str, Any]:
    from registry_api.webhooks.prefect_client import read_prefect_run  # loaded by the thread

    return await read_prefect_run(client, run_id)


def _connect(settings: Settings) -> "httpx.AsyncClient":
    """Return a client of Prefect's API; it loads the HTTP client, and reads files. Raise RemoteUnavailable."""
    from registry_api.webhooks.prefect_client import find_prefect_api, prefect_client

    return prefect_client(settings, find_prefect_api(settings), os.environ)
