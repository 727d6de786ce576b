"""What another installation serves, asked of its management API: an Entrepôt's, a Pulp's, or a plain registry's catalog.

Source: Pulp Container's REST API, "distributions"; docker's registry API, "_catalog".
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from oci.errors import RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.remote.discovery.bounds import MOST_ENTRIES
from oci.remote.discovery.pulp import discover_pulp
from oci.remote.discovery.served import (
    KINDS,
    Discovery,
    Kind,
    Served,
    each_once,
    entries,
    labels_of,
    path_of,
    read_pages,
)
from oci.remote.transport import RemoteTransport

__all__ = ["KINDS", "Discovery", "Kind", "Served", "discover"]

ENTREPOT = "/api/v1/distributions"
_PAGE = 1000
CATALOG = f"/v2/_catalog?n={_PAGE}"
_MAX_ROUNDS = 10_000

Connect = Callable[[bool], Awaitable[RemoteTransport]]


async def discover(
    host: str,
    connect: Connect,
    *,
    kinds: tuple[Kind, ...] = KINDS,
    pulp_query: str = "",
    pulp_root: str = "",
) -> Discovery:
    """Ask for the paths that a host serves, by the first of the kinds of API that it has.

    `connect` makes a new connection, one that sends the login itself where it is called with True.
    `pulp_query` is an expression of Pulp's own (parameter `q`), which Pulp applies; `pulp_root` the path of its API.

    Raises RemoteNotFound when it has none of them, RemoteUnauthorized, RemoteCorrupt, and what a request raises.
    """
    for kind in kinds:
        # The APIs accept Basic logins, whatever the registry beside them asks for.
        async with await connect(kind != "catalog") as transport:
            try:
                if kind == "pulp":
                    return await discover_pulp(transport, root=pulp_root, query=pulp_query)
                return await (_discover_entrepot if kind == "entrepot" else _discover_catalog)(transport)
            except RemoteNotFound:
                continue
    raise RemoteNotFound(f"has no API that lists what it serves (looked for: {', '.join(kinds)})", registry=host)


async def _discover_entrepot(transport: RemoteTransport) -> Discovery:
    host = transport.host
    served: list[Served] = []
    async for page in read_pages(transport, ENTREPOT):
        served += (_of_entrepot(one, host) for one in entries(page, "distributions", host))
    return Discovery("entrepot", each_once(served))


def _of_entrepot(entry: Mapping[str, object], host: str) -> Served:
    return Served(
        path_of(entry.get("path"), host),
        bool(entry.get("private")),
        str(entry.get("description") or ""),
        labels_of(entry, "labels", host),
        str(entry.get("content") or ""),
    )


async def _discover_catalog(transport: RemoteTransport) -> Discovery:
    """Read the whole list: some registries send only so many names, and no Link to the others.

    So what comes behind the last name is asked for too. One that knows no `last` sends what it has sent before: that is all it
    has, unless it is as much as was asked for. One that does not respond leaves a doubt.
    """
    served: dict[str, Served] = {}
    path = CATALOG
    for _ in range(_MAX_ROUNDS):
        known, count = len(served), 0
        try:
            async for page in read_pages(transport, path):
                listed = _of_catalog(page, transport.host)
                served |= {one.path: one for one in listed}
                count = len(listed)
        except (RemoteNotFound, RemoteRefused, RemoteUnauthorized, RemoteCorrupt) as error:
            if path == CATALOG:
                raise
            return Discovery(
                "catalog", tuple(served.values()), (f"whether its list goes on is not known: {error.message}",)
            )
        if len(served) > MOST_ENTRIES:
            break
        if len(served) == known:
            cut = (f"its list ends with {count} names, as many as were asked for",) if count == _PAGE else ()
            return Discovery("catalog", tuple(served.values()), cut)
        path = f"{CATALOG}&last={quote(list(served)[-1], safe='')}"
    raise RemoteCorrupt("lists repositories without end", registry=transport.host)


def _of_catalog(page: Mapping[str, object], host: str) -> list[Served]:
    names = page.get("repositories", ()) or []  # some registries send null for an empty list
    if "repositories" not in page or not isinstance(names, list):
        raise RemoteCorrupt("lists repositories that are no list", registry=host)
    return [Served(path_of(name, host)) for name in names]
