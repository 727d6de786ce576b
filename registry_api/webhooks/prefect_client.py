"""A client of Prefect's HTTP API that starts flow runs; the registry imports nothing of Prefect."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from catalog.prefect.address import PrefectAddress, known_addresses
from catalog.prefect.client_options import client_options
from catalog.prefect.run_parameters import flat_parameters
from catalog.settings import Settings
from catalog.webhooks.queue import Run
from oci.errors import RemoteRefused, RemoteUnauthorized, RemoteUnavailable

_WITHIN = 30.0
_AGAIN_LATER = frozenset({401, 403, 404, 408, 425, 429})
"""Statuses besides 5xx that may change later: a login can be corrected, a deployment registered."""


def find_prefect_api(settings: Settings) -> PrefectAddress:
    """Return the API of a running `entrepot up`, else the configured one; raise RemoteUnavailable without any. Reads files."""
    known = known_addresses(settings)
    if not known:
        raise RemoteUnavailable(
            "no Prefect server is known: start `entrepot up` with this home, or set ENTREPOT_PREFECT_API_URL",
            registry="prefect",
        )
    return known[0]


def prefect_client(settings: Settings, api: PrefectAddress, environment: Mapping[str, str]) -> httpx.AsyncClient:
    """Return a client of one API, with the login of our own server or that of the environment; reads certificates."""
    return httpx.AsyncClient(**client_options(settings, api, environment, seconds=_WITHIN))


async def start_run(client: httpx.AsyncClient, run: Run) -> str:
    """Start the flow run of a hook; return its id. Raises what `start_deployment` raises."""
    return await start_deployment(
        client, run.deployment, flat_parameters(run.parameters), key=run.key, tags=[f"hook:{run.hook}"]
    )


async def start_deployment(
    client: httpx.AsyncClient, name: str, parameters: Mapping[str, object], *, key: str, tags: Sequence[str]
) -> str:
    """Start a flow run of `FLOW/DEPLOYMENT`, or find the one that was started with this key before; return its id.

    Raises RemoteUnavailable and RemoteUnauthorized where a retry may help, RemoteRefused where it will not.
    """
    flow, _, deployment = name.partition("/")
    deployed = await _request(client, "GET", f"/deployments/name/{quote(flow, safe='')}/{quote(deployment, safe='')}")
    # No field is null: servers refuse nulls with some releases of FastAPI.
    body = {"parameters": parameters, "idempotency_key": key, "tags": [*tags]}
    created = await _request(client, "POST", f"/deployments/{deployed['id']}/create_flow_run", body)
    return str(created["id"])


async def read_prefect_run(client: httpx.AsyncClient, run_id: UUID) -> Mapping[str, Any]:
    """Return a flow run as Prefect describes it; raise what `start_deployment` raises."""
    return await _request(client, "GET", f"/flow_runs/{run_id}")


async def _request(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> dict[str, Any]:
    host = client.base_url.netloc.decode()
    try:
        response = await client.request(method, path, json=body) if body else await client.request(method, path)
        if response.is_success:
            document = response.json()
            if isinstance(document, dict) and document.get("id"):
                return document
            raise RemoteUnavailable(f"{path} is not a Prefect API", registry=host)
    except (httpx.HTTPError, ValueError) as error:
        raise RemoteUnavailable(f"Prefect does not respond: {error or type(error).__name__}", registry=host) from None
    status = response.status_code
    message = f"Prefect responded {status} to {method} {path}: {response.text[:300]}"
    if status in {401, 403}:
        raise RemoteUnauthorized(message, registry=host, status=status)
    if status in _AGAIN_LATER or status >= 500 or status < 400:
        raise RemoteUnavailable(message, registry=host, status=status)
    raise RemoteRefused(message, registry=host, status=status)
