"""What a Pulp serves, asked of its management API: at its usual place, in each of its domains, or where the operator says.

Source: Pulp's REST API, "distributions", "status", "domains"; Pulp Container, "Domain support": clients pull DOMAIN/BASE_PATH.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

from oci.errors import RemoteError, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.remote.discovery.bounds import BoundedRemarks, EntryTally
from oci.remote.discovery.served import (
    Discovery,
    Served,
    each_once,
    entries,
    fetch_page,
    labels_of,
    path_of,
    read_pages,
)
from oci.remote.transport import RemoteTransport

ROOT = "/pulp/api/v3/"
_STATUS = f"{ROOT}status/"
_DOMAINS = "/pulp/default/api/v3/domains/?limit=100"
_DISTRIBUTIONS = "distributions/container/container/?limit=100"
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,200}")


async def discover_pulp(transport: RemoteTransport, *, root: str = "", query: str = "") -> Discovery:
    """Ask a Pulp for its distributions, below the API's `root` or else where it is; `query` is its parameter `q`.

    Raises RemoteNotFound where there is no Pulp, RemoteRefused where there is one and its distributions are somewhere else.
    """
    query = f"&q={quote(query, safe='')}" if query else ""
    if root:
        return await _listed(transport, f"{root.rstrip('/')}/{_DISTRIBUTIONS}{query}")
    try:
        return await _listed(transport, f"{ROOT}{_DISTRIBUTIONS}{query}")
    except RemoteNotFound as error:
        status = await _status(transport)
        if status is None:
            raise
        if not status.get("domain_enabled"):
            raise RemoteRefused(
                f"is a Pulp, but has no container distributions at {ROOT}; say with --pulp-api where its API is, or take what a "
                "plain registry lists with --kind catalog",
                registry=transport.host,
            ) from error
    return await _of_domains(transport, query)


async def _status(transport: RemoteTransport) -> Mapping[str, object] | None:
    """Return what a Pulp says of itself to everybody; None where there is no Pulp."""
    try:
        page, _response = await fetch_page(transport, _STATUS)
    except RemoteError as error:
        if isinstance(error, RemoteNotFound | RemoteUnauthorized | RemoteRefused):
            return None
        raise
    return page if "versions" in page or "domain_enabled" in page else None


async def _of_domains(transport: RemoteTransport, query: str) -> Discovery:
    """Return the distributions of every domain that the login may see."""
    doubts: list[str] = BoundedRemarks()
    served: list[Served] = []
    tally = EntryTally(transport.host)
    for domain in await _domains(transport, doubts):
        try:
            found = await _listed(transport, f"/pulp/{domain}/api/v3/{_DISTRIBUTIONS}{query}", domain)
        except (RemoteNotFound, RemoteUnauthorized) as error:
            doubts.append(f"its domain {domain} was left out: {error.message}")
            continue
        tally.add(len(found.served))
        served += found.served
        for doubt in found.doubts:
            doubts.append(doubt)  # noqa: PERF402  # which counts them
    return Discovery("pulp", each_once(served), tuple(doubts))


async def _domains(transport: RemoteTransport, doubts: list[str]) -> list[str]:
    host = transport.host
    try:
        return [
            name
            async for page in read_pages(transport, _DOMAINS)
            for one in entries(page, "results", host)
            if _DOMAIN.fullmatch(name := str(one.get("name")))
        ]
    except (RemoteNotFound, RemoteUnauthorized, RemoteRefused) as error:
        doubts.append(f"its domains cannot be listed, so only the domain default was asked: {error.message}")
        return ["default"]


async def _listed(transport: RemoteTransport, path: str, domain: str = "") -> Discovery:
    served: list[Served] = []
    listed, count = 0, None
    async for page in read_pages(transport, path):
        found, count = entries(page, "results", transport.host), page.get("count")
        listed += len(found)
        served += (_served(one, domain, transport.host) for one in found if _has_content(one))
    doubts = (f"it lists {listed} of {count} distributions",) if isinstance(count, int) and count > listed else ()
    return Discovery("pulp", each_once(served), doubts)


def _has_content(entry: Mapping[str, object]) -> bool:
    """Return whether a distribution serves a repository, or one version of it."""
    return bool(entry.get("repository") or entry.get("repository_version"))


def _served(entry: Mapping[str, object], domain: str, host: str) -> Served:
    return Served(
        path_of(_pulled_by(entry, domain), host),
        bool(entry.get("private")),
        str(entry.get("description") or ""),
        labels_of(entry, "pulp_labels", host),
    )


def _pulled_by(entry: Mapping[str, object], domain: str) -> str:
    """Return the name that clients pull by: of `registry_path`, HOST/NAME, the name; in a domain it begins with the domain."""
    base = str(entry.get("base_path"))
    name = str(entry.get("registry_path") or "").partition("/")[2]
    if name == base or name.endswith(f"/{base}"):
        return name
    return f"{domain}/{base}" if domain else base
