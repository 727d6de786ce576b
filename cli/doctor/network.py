"""Checks of what is reached over the network: upstreams with their logins, and Prefect with its workers and runs."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cli.doctor.finding import Finding, ok
from cli.doctor.stores import has_older_schema, is_new_database, judge_clock
from oci.errors import EntrepotError

if TYPE_CHECKING:
    import httpx

    from catalog.prefect.address import PrefectAddress
    from catalog.settings import Settings
    from oci.remote.address import Remote

_AT_ONCE = 8
_MOST = 50
_ONE_SECONDS = 10.0


def check_upstreams(settings: "Settings") -> Iterator[Finding]:
    """Ask each registry that has a record, a cache or a login of the settings, with the login that there is for it."""
    from catalog.catalog import open_catalog

    if not settings.has_catalog or is_new_database(settings) or has_older_schema(settings):
        yield from asyncio.run(_ask_all(settings, None, sorted(settings.logins)))
        return
    with open_catalog(settings) as catalog:
        keys = {record.key for record in catalog.remotes.all()}
        keys |= {cache.remote for cache in catalog.distributions.caches()} | set(settings.logins)
        yield from asyncio.run(_ask_all(settings, catalog.remotes, sorted(keys)))


async def _ask_all(settings: "Settings", remotes: Any, keys: Sequence[str]) -> list[Finding]:
    from catalog.remotes.clients import Upstreams

    found = []
    if not keys:
        return [ok("upstreams", "no upstream is configured")]
    if len(keys) > _MOST:
        found.append(ok("upstreams", f"{len(keys)} upstreams; only the first {_MOST} are checked"))
    guard = asyncio.Semaphore(_AT_ONCE)
    async with Upstreams(settings, remotes, interactive=True) as upstreams:

        async def ask(key: str) -> list[Finding]:
            async with guard:
                return await _ask(upstreams, settings, key)

        for answer in await asyncio.gather(*map(ask, keys[:_MOST])):
            found += answer
    clocks = [one for one in found if one.check == "clock"]
    best = min(clocks, key=lambda one: ("ok", "warning", "failure").index(one.state), default=None)
    return [one for one in found if one.check != "clock"] + (
        [best] if best else []
    )  # an upstream may be the one that is wrong


async def _ask(upstreams: Any, settings: "Settings", key: str) -> list[Finding]:
    from catalog.remotes.clients import make_keychain
    from oci.remote.address import parse_remote

    try:
        remote: Remote = parse_remote(f"{key}/name")
        login = make_keychain(settings).find(remote.reference.registry, remote.reference.repository)
        transport = await upstreams.new_transport(remote)
        async with transport, asyncio.timeout(_ONE_SECONDS):
            response = await transport.request("GET", "/v2/", scope="", once=True)
    except EntrepotError as error:
        advice = "correct the login (auth.json, ENTREPOT_LOGINS) or the remote (`entrepot remote show`)"
        return [Finding("upstreams", "failure", f"{key}: {error.message}", advice)]
    except TimeoutError:
        text = f"{key}: no answer within {_ONE_SECONDS:g} s"
        return [Finding("upstreams", "failure", text, "check the network, the proxy and the registry")]
    how = "accepts the configured login" if login else "answers; no login is configured"
    found = [ok("upstreams", f"{key} {how}")]
    if date := response.headers.get("date"):
        try:
            found.append(judge_clock(key, parsedate_to_datetime(date), datetime.now(UTC)))
        except (TypeError, ValueError):  # no date, or one without a zone
            return found
    return found


def check_prefect(settings: "Settings") -> Iterator[Finding]:
    """Ask Prefect: it answers, its version is ours, pools have workers that live, and no run is late."""
    import httpx

    from catalog.prefect.address import known_addresses

    known = known_addresses(settings)
    if not known:
        text = "no Prefect server: schedules and hooks do not start flows"
        yield Finding("prefect", "warning", text, "start `entrepot up` with this home, or set ENTREPOT_PREFECT_API_URL")
        return
    place = shown_place(known[0].url)
    with httpx.Client(**_how_to_ask(settings, known[0])) as client:
        try:
            theirs = _answer(client, "GET", "/admin/version")
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            text = f"{place} answers {code}"
            advice = "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY" if code in {401, 403} else "read Prefect's log"
            yield Finding("prefect", "failure", text, advice)
            return
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            text = f"{place} does not answer: {type(error).__name__}"
            yield Finding("prefect", "failure", text, "start it, or correct ENTREPOT_PREFECT_API_URL")
            return
        ours = version_of("prefect")
        if str(theirs).split(".")[:2] != ours.split(".")[:2]:
            text = f"{place} is Prefect {theirs}, and this installation has {ours}"
            yield Finding("prefect", "warning", text, "use one release on both sides")
        else:
            yield ok("prefect", f"{place} answers: Prefect {theirs}")
        yield from _check_pools(client)
        yield from _check_late(client)


def _check_pools(client: "httpx.Client") -> Iterator[Finding]:
    deployments = _answer(
        client, "POST", "/deployments/filter", {"deployments": {"tags": {"all_": ["entrepot"]}}, "limit": 200}
    )
    names = sorted({one["work_pool_name"] for one in deployments if one.get("work_pool_name")})
    if not names:
        text = "no deployments of Entrepôt are registered"
        yield Finding("workers", "warning", text, "start `entrepot up` or `entrepot worker`, which register them")
    for name in names:
        workers = _answer(client, "POST", f"/work_pools/{name}/workers/filter", {"limit": 200})
        alive = [one for one in workers if one.get("status") == "ONLINE"]
        if alive:
            yield ok("workers", f"work pool {name}: {len(alive)} of {len(workers)} workers online")
        else:
            text = f"work pool {name} has no worker online: its runs wait"
            yield Finding("workers", "failure", text, "start `entrepot up` or `entrepot worker`")


def _check_late(client: "httpx.Client") -> Iterator[Finding]:
    body = {"flow_runs": {"state": {"name": {"any_": ["Late"]}}}, "deployments": {"tags": {"all_": ["entrepot"]}}}
    count = int(_answer(client, "POST", "/flow_runs/count", body))
    if count:
        yield Finding(
            "runs", "warning", f"{count} flow runs are late", "start more workers, or find out what keeps them busy"
        )
    else:
        yield ok("runs", "no flow run is late")


def check_dead_runs(settings: "Settings") -> Iterator[Finding]:
    """Look for flow runs whose process is gone."""
    import httpx

    from catalog.prefect.address import known_addresses
    from flows.recovery.reaper import Reaper
    from flows.recovery.run_locks import locks_folder

    known = known_addresses(settings)
    if not known:
        return

    async def look() -> list[str]:
        async with httpx.AsyncClient(**_how_to_ask(settings, known[0])) as client:

            async def ask(method: str, path: str, body: object) -> Any:
                response = await client.request(method, path, json=body)
                response.raise_for_status()
                return response.json()

            reaper = Reaper(ask, locks_folder(settings), own=bool(known[0].login))
            return [run.name for run in await reaper.orphans()]

    try:
        names = asyncio.run(look())
    except (httpx.HTTPError, httpx.InvalidURL):
        return  # the check of Prefect tells it
    if names:
        shown = f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        text = f"{len(names)} flow runs have no process: {shown}"
        yield Finding(
            "dead runs",
            "warning",
            text,
            "run `entrepot up` or `entrepot worker`: they end or restart such runs within a minute",
        )
    else:
        yield ok("dead runs", "all open flow runs have a process")


def _how_to_ask(settings: "Settings", api: "PrefectAddress") -> dict[str, Any]:
    from catalog.prefect.client_options import client_options

    return client_options(settings, api, os.environ, seconds=_ONE_SECONDS)


def shown_place(url: str) -> str:
    """Return a URL without what may be a login in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _answer(client: "httpx.Client", method: str, path: str, body: object = None) -> Any:
    response = client.request(method, path, json=body) if body is not None else client.request(method, path)
    response.raise_for_status()
    return response.json()
