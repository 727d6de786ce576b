"""What another installation serves, asked of its management API: an Entrepôt's, a Pulp's, or a plain registry's catalog.

Source: Pulp Container's REST API, "distributions"; docker's registry API, "_catalog".
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

import httpx

from oci.errors import NameInvalid, RemoteCorrupt, RemoteNotFound
from oci.reference import parse_name
from oci.remote.paging import may_be_cut, next_page
from oci.remote.transport import RemoteTransport

Kind = Literal["entrepot", "pulp", "catalog"]
KINDS: tuple[Kind, ...] = ("entrepot", "pulp", "catalog")

ENTREPOT = "/api/v1/distributions"
PULP = "/pulp/api/v3/distributions/container/container/"
_PATHS: Mapping[Kind, str] = {"entrepot": ENTREPOT, "pulp": f"{PULP}?limit=100", "catalog": "/v2/_catalog?n=1000"}
_MAX_PAGES, _PAGE = 10_000, 1000

Connect = Callable[[bool], Awaitable[RemoteTransport]]


@dataclass(frozen=True, slots=True)
class Served:
    """A path that an upstream serves content at; `content`, where it tells that, is another text once it serves other content."""

    path: str
    private: bool = False
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    content: str = ""


async def discover(
    host: str,
    connect: Connect,
    *,
    kinds: tuple[Kind, ...] = KINDS,
    pulp_query: str = "",
) -> tuple[Kind, list[Served]]:
    """Ask for the paths that a host serves, by the first of the kinds of API that it has; return which that was.

    `connect` makes a new connection, one that sends the login itself where it is called with True.
    `pulp_query` is an expression of Pulp's own (parameter `q`), which Pulp applies.

    Raises RemoteNotFound when it has none of them, RemoteUnauthorized, RemoteCorrupt, and what a request raises.
    """
    for kind in kinds:
        # The APIs take Basic logins, whatever the registry beside them wants.
        async with await connect(kind != "catalog") as transport:
            try:
                query = f"&q={quote(pulp_query, safe='')}" if pulp_query and kind == "pulp" else ""
                pages = [page async for page in _pages(transport, f"{_PATHS[kind]}{query}", host)]
            except RemoteNotFound:
                continue
            found = {one.path: one for page in pages for one in _READERS[kind](page, host)}
            return kind, list(found.values())
    raise RemoteNotFound(f"has no API that lists what it serves (looked for: {', '.join(kinds)})", registry=host)


async def _pages(transport: RemoteTransport, path: str, host: str) -> AsyncIterator[dict[str, object]]:
    """Follow a Link header or a `next` in the body. The host that they name is not looked at: a proxy may hide it.

    A list that looks as if it were cut without a link is asked for what comes after its last name.
    """
    seen: set[str] = set()
    names: set[str] = set()
    while True:
        if path in seen or len(seen) >= _MAX_PAGES:
            raise RemoteCorrupt(f"pages its list in a loop at {path[:200]}", registry=host)
        seen.add(path)
        response = await transport.request("GET", path, scope="registry:catalog:*")
        try:
            page = json.loads(response.content)
        except ValueError:
            page = None
        if not isinstance(page, dict):
            raise RemoteNotFound(f"answered {path[:200]} with what is no JSON object", registry=host)
        yield page
        following = page.get("next")
        try:
            path = (
                response.request.url.join(str(following)).raw_path.decode() if following else next_page(response) or ""
            )
        except (httpx.InvalidURL, ValueError):
            raise RemoteCorrupt(
                "lists what it serves in pages, and does not say where the next one is", registry=host
            ) from None
        path = path or _after_last(page, names)
        if not path:
            return


def _after_last(page: Mapping[str, object], names: set[str]) -> str:
    """Where the rest of a catalog would be that may have been cut; empty for one that is whole. `names` are those seen so far."""
    listed = page.get("repositories")
    if not isinstance(listed, list) or not may_be_cut(len(listed), _PAGE):
        return ""
    new = {str(name) for name in listed} - names
    names |= new
    return f"{_PATHS['catalog']}&last={quote(str(listed[-1]), safe='')}" if new else ""


def _read_entrepot(page: Mapping[str, object], host: str) -> list[Served]:
    return [_served(one, "path", "labels", host) for one in _list(page, "distributions", host)]


def _read_pulp(page: Mapping[str, object], host: str) -> list[Served]:
    """Those that serve something: a repository, or one version of it."""
    return [
        _served(one, "base_path", "pulp_labels", host)
        for one in _list(page, "results", host)
        if one.get("repository") or one.get("repository_version")
    ]


def _served(one: Mapping[str, object], path: str, labels: str, host: str) -> Served:
    found = one.get(labels) or {}
    if not isinstance(found, dict):
        raise RemoteCorrupt(f"has {labels} that are no object", registry=host)
    return Served(
        _path(one.get(path), host),
        bool(one.get("private")),
        str(one.get("description") or ""),
        {str(name): str(value if value is not None else "") for name, value in found.items()},
        str(one.get("content") or "") if path == "path" else "",
    )


def _read_catalog(page: Mapping[str, object], host: str) -> list[Served]:
    names = page.get("repositories") or []
    if not isinstance(names, list):
        raise RemoteCorrupt("lists repositories that are no list", registry=host)
    return [Served(_path(name, host)) for name in names]


_READERS = {"entrepot": _read_entrepot, "pulp": _read_pulp, "catalog": _read_catalog}


def _list(page: Mapping[str, object], key: str, host: str) -> list[Mapping[str, object]]:
    found = page.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RemoteCorrupt(f"lists {key} that are no list of objects", registry=host)
    return found


def _path(value: object, host: str) -> str:
    try:
        return parse_name(str(value))
    except NameInvalid as error:
        raise RemoteCorrupt(f"serves a path that is no name: {error}", registry=host) from None
