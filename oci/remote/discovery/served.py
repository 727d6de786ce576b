"""What an upstream says it serves, and how its lists are read page by page."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx

from oci.errors import NameInvalid, RemoteCorrupt, RemoteNotFound
from oci.reference import parse_name
from oci.remote.discovery.bounds import EntryTally
from oci.remote.paging import next_page
from oci.remote.transport import RemoteTransport

Kind = Literal["entrepot", "pulp", "catalog"]
KINDS: tuple[Kind, ...] = ("entrepot", "pulp", "catalog")

_MAX_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class Served:
    """A path that an upstream serves content at; `content`, where known, is another text once it serves other content."""

    path: str
    private: bool = False
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    content: str = ""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What an upstream lists, by which kind of API; `doubts` say why the list may lack paths that it does serve."""

    kind: Kind
    served: tuple[Served, ...]
    doubts: tuple[str, ...] = ()


async def fetch_page(transport: RemoteTransport, path: str) -> tuple[Mapping[str, object], httpx.Response]:
    """Return one JSON object and the response that it came in; raise RemoteNotFound for any other response."""
    response = await transport.request("GET", path, scope="registry:catalog:*")
    try:
        page = json.loads(response.content)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict):
        raise RemoteNotFound(f"answered {path[:200]} with something other than a JSON object", registry=transport.host)
    return page, response


async def read_pages(transport: RemoteTransport, path: str) -> AsyncIterator[Mapping[str, object]]:
    """Yield the pages of a list: it goes on where a Link header or a `next` in the body says.

    The host that these name is not looked at: a proxy may hide it. Only the first page raises RemoteNotFound, which says that
    there is no such list; a later one that is not there makes the list RemoteCorrupt, as do too many entries.
    """
    tally = EntryTally(transport.host)
    seen: set[str] = set()
    while True:
        if path in seen or len(seen) >= _MAX_PAGES:
            raise RemoteCorrupt(f"pages its list in a loop at {path[:200]}", registry=transport.host)
        try:
            page, response = await fetch_page(transport, path)
        except RemoteNotFound as error:
            if not seen:
                raise
            raise RemoteCorrupt(f"breaks off its list: {error.message}", registry=transport.host) from error
        seen.add(path)
        tally.add(max((len(value) for value in page.values() if isinstance(value, list)), default=0))
        yield page
        following = _following(page, response)
        if following is None:
            return
        path = following


def _following(page: Mapping[str, object], response: httpx.Response) -> str | None:
    """Return where the next page is, None for the last one; raise RemoteCorrupt for a list that goes on at no address."""
    following = page.get("next")
    try:
        return response.request.url.join(str(following)).raw_path.decode() if following else next_page(response)
    except (httpx.InvalidURL, ValueError):
        host = response.request.url.host
        raise RemoteCorrupt(
            "lists what it serves in pages, and does not say where the next one is", registry=host
        ) from None


def entries(page: Mapping[str, object], key: str, host: str) -> list[Mapping[str, object]]:
    """Return the objects that a page lists; raise RemoteCorrupt for a list that is none."""
    found = page.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RemoteCorrupt(f"lists {key} that are no list of objects", registry=host)
    return found


def labels_of(entry: Mapping[str, object], key: str, host: str) -> dict[str, str]:
    """Return the labels of an entry; one without a value is empty."""
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise RemoteCorrupt(f"has {key} that are no object", registry=host)
    return {str(name): str(value if value is not None else "") for name, value in found.items()}


def path_of(value: object, host: str) -> str:
    """Return the path that an upstream names; raise RemoteCorrupt for one that is no name."""
    try:
        return parse_name(str(value))
    except NameInvalid as error:
        raise RemoteCorrupt(f"serves a path that is no name: {error}", registry=host) from None


def each_once(served: Iterable[Served]) -> tuple[Served, ...]:
    """Return the paths in their order; one that is listed on two pages counts once."""
    return tuple({one.path: one for one in served}.values())
