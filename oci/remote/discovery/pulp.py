"""What a Pulp serves, asked of its management API: at its usual place, in each of its domains, or where the operator says.

Source: Pulp's REST API, "distributions", "status", "domains"; Pulp Container, "Domain support": clients pull DOMAIN/BASE_PATH.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from oci.errors import RemoteCorrupt, RemoteError, RemoteNotFound, RemoteRefused, RemoteUnauthorized
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
DEFAULT_DOMAIN = "/pulp/default/api/v3/"
_DOMAINS = f"{DEFAULT_DOMAIN}domains/?limit=100"
_DISTRIBUTIONS = "distributions/container/container/?limit=100"
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True)
class PulpDistribution:
    """What a distribution serves, and the API's own addresses of it, of its namespace, and of the repository or its one version.

    `root` is where the API of its domain is; `project` the first part of the path, behind a domain the first two.
    """

    served: Served
    root: str
    project: str
    href: str = ""
    namespace: str = ""
    repository: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class PulpListing:
    """The distributions of a Pulp, each path once; `doubts` say why others may be missing, `roots` where its API was asked."""

    distributions: tuple[PulpDistribution, ...]
    doubts: tuple[str, ...]
    roots: tuple[str, ...]


async def discover_pulp(transport: RemoteTransport, *, root: str = "", query: str = "") -> Discovery:
    """Ask a Pulp what its distributions serve, below the API's `root` or else where it is; `query` is its parameter `q`.

    Raises what `list_distributions` raises.
    """
    found = await list_distributions(transport, root=root, query=query)
    return Discovery("pulp", each_once(one.served for one in found.distributions), found.doubts)


async def list_distributions(
    transport: RemoteTransport, *, root: str = "", query: str = "", left_out: dict[str, str] | None = None
) -> PulpListing:
    """Ask a Pulp for its distributions; those that have no name go to `left_out` with the reason, where it is given.

    Raises RemoteNotFound where there is no Pulp, RemoteRefused where there is one and its distributions are somewhere else, and
    RemoteCorrupt.
    """
    query = f"&q={quote(query, safe='')}" if query else ""
    if root:
        return await _listed(transport, f"{root.rstrip('/')}/", query, left_out)
    try:
        return await _listed(transport, ROOT, query, left_out)
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
    return await _of_domains(transport, query, left_out)


async def _status(transport: RemoteTransport) -> Mapping[str, object] | None:
    """Return what a Pulp says of itself to everybody; None where there is no Pulp."""
    try:
        page, _response = await fetch_page(transport, _STATUS)
    except RemoteError as error:
        if isinstance(error, RemoteNotFound | RemoteUnauthorized | RemoteRefused):
            return None
        raise
    return page if "versions" in page or "domain_enabled" in page else None


async def _of_domains(transport: RemoteTransport, query: str, left_out: dict[str, str] | None) -> PulpListing:
    """Return the distributions of every domain that the login may see."""
    doubts: list[str] = BoundedRemarks()
    found: list[PulpDistribution] = []
    roots: list[str] = []
    tally = EntryTally(transport.host)
    for domain in await _domains(transport, doubts):
        root = f"/pulp/{domain}/api/v3/"
        try:
            listed = await _listed(transport, root, query, left_out, domain)
        except (RemoteNotFound, RemoteUnauthorized) as error:
            doubts.append(f"its domain {domain} was left out: {error.message}")
            continue
        tally.add(len(listed.distributions))
        found += listed.distributions
        roots.append(root)
        for doubt in listed.doubts:
            doubts.append(doubt)  # noqa: PERF402  # which counts them
    return PulpListing(_each_path_once(found), tuple(doubts), tuple(roots))


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


async def _listed(
    transport: RemoteTransport, root: str, query: str, left_out: dict[str, str] | None, domain: str = ""
) -> PulpListing:
    found: list[PulpDistribution] = []
    listed, count = 0, None
    async for page in read_pages(transport, f"{root}{_DISTRIBUTIONS}{query}"):
        each, count = entries(page, "results", transport.host), page.get("count")
        listed += len(each)
        for one in each:
            if not _has_content(one):
                continue
            try:
                found.append(_distribution(one, root, domain, transport.host))
            except RemoteCorrupt as error:
                if left_out is None:
                    raise
                left_out[str(one.get("base_path"))[:300]] = error.message
    doubts = (f"it lists {listed} of {count} distributions",) if isinstance(count, int) and count > listed else ()
    return PulpListing(_each_path_once(found), doubts, (root,))


def _each_path_once(found: list[PulpDistribution]) -> tuple[PulpDistribution, ...]:
    return tuple({one.served.path: one for one in found}.values())


def _has_content(entry: Mapping[str, object]) -> bool:
    """Return whether a distribution serves a repository, or one version of it."""
    return bool(entry.get("repository") or entry.get("repository_version"))


def _distribution(entry: Mapping[str, object], root: str, domain: str, host: str) -> PulpDistribution:
    served = Served(
        path_of(_pulled_by(entry, domain), host),
        bool(entry.get("private")),
        str(entry.get("description") or ""),
        labels_of(entry, "pulp_labels", host),
    )
    base = str(entry.get("base_path"))
    project = served.path.removesuffix(base) + base.partition("/")[0]
    names = ("pulp_href", "namespace", "repository", "repository_version")
    return PulpDistribution(served, root, project, *(address(entry.get(name)) for name in names))


def address(value: object) -> str:
    """Return the path of an address as the API gives it, with or without its host; empty for what is none."""
    if not isinstance(value, str):
        return ""
    try:
        return urlsplit(value).path[:1000]
    except ValueError:
        return ""


def _pulled_by(entry: Mapping[str, object], domain: str) -> str:
    """Return the name that clients pull by: of `registry_path`, HOST/NAME, the name; in a domain it begins with the domain."""
    base = str(entry.get("base_path"))
    name = str(entry.get("registry_path") or "").partition("/")[2]
    if name == base or name.endswith(f"/{base}"):
        return name
    return f"{domain}/{base}" if domain else base


async def list_results(
    transport: RemoteTransport, path: str, tally: EntryTally | None = None
) -> AsyncIterator[Mapping[str, object]]:
    """Yield the entries of one of Pulp's lists, page by page; `tally` counts them among those of other lists."""
    async for page in read_pages(transport, path):
        found = entries(page, "results", transport.host)
        if tally is not None:
            tally.add(len(found))
        for one in found:
            yield one
