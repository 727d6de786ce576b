"""Starts flow runs by Prefect's HTTP API; the registry imports nothing of Prefect."""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from catalog.prefect_address import PrefectAddress, known_addresses
from catalog.settings import Settings
from catalog.webhooks.queue import Run
from oci.errors import RemoteRefused, RemoteUnauthorized, RemoteUnavailable
from oci.remote.network.loopback import is_loopback

_WITHIN = 30.0
_AGAIN_LATER = frozenset({401, 403, 404, 408, 425, 429})
"""Answers besides 5xx that may be others later: a login can be mended, a deployment be registered."""


def find_api(settings: Settings) -> PrefectAddress:
    """That of a running `entrepot up`, else the one that was set; reads files. Raise RemoteUnavailable where there is none."""
    known = known_addresses(settings)
    if not known:
        raise RemoteUnavailable(
            "no Prefect server is known: start `entrepot up` with this home, or set ENTREPOT_PREFECT_API_URL",
            registry="prefect",
        )
    return known[0]


def prefect_client(settings: Settings, api: PrefectAddress, environment: Mapping[str, str]) -> httpx.AsyncClient:
    """A client of one API, with the login of a server of ours or that of the environment; reads certificates."""
    return httpx.AsyncClient(
        base_url=api.url,
        headers=api.headers(environment),
        timeout=_WITHIN,
        verify=ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True,
        trust_env=not is_loopback(urlsplit(api.url).hostname or ""),
    )


async def start_run(client: httpx.AsyncClient, run: Run) -> str:
    """Start a flow run, or find the one that was started by this key before; return its id.

    Raises RemoteUnavailable and RemoteUnauthorized for what another try may mend, RemoteRefused for what it will not.
    """
    flow, _, deployment = run.deployment.partition("/")
    found = await _ask(client, "GET", f"/deployments/name/{quote(flow, safe='')}/{quote(deployment, safe='')}")
    # No field is null: servers refuse nulls with some releases of FastAPI.
    wanted = {"parameters": run.parameters, "idempotency_key": run.key, "tags": [f"hook:{run.hook}"]}
    made = await _ask(client, "POST", f"/deployments/{found['id']}/create_flow_run", wanted)
    return str(made["id"])


async def _ask(client: httpx.AsyncClient, method: str, path: str, body: object = None) -> dict[str, Any]:
    host = client.base_url.netloc.decode()
    try:
        answer = await client.request(method, path, json=body) if body else await client.request(method, path)
        if answer.is_success:
            document = answer.json()
            if isinstance(document, dict) and document.get("id"):
                return document
            raise RemoteUnavailable(f"what answers at {path} is no Prefect API", registry=host)
    except (httpx.HTTPError, ValueError) as error:
        raise RemoteUnavailable(f"Prefect does not answer: {error or type(error).__name__}", registry=host) from None
    status = answer.status_code
    said = f"Prefect answered {status} to {method} {path}: {answer.text[:300]}"
    if status in {401, 403}:
        raise RemoteUnauthorized(said, registry=host, status=status)
    if status in _AGAIN_LATER or status >= 500 or status < 400:
        raise RemoteUnavailable(said, registry=host, status=status)
    raise RemoteRefused(said, registry=host, status=status)
