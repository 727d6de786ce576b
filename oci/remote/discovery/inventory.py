"""What another product's registry holds, and how it is set up: into this form the APIs of Harbor, Quay and Pulp are read."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from oci.digest import Digest
from oci.errors import DigestInvalid, RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.remote.discovery.bounds import EntryTally
from oci.remote.discovery.foreign_access import ForeignAccess
from oci.remote.discovery.served import Served
from oci.remote.paging import parse_links
from oci.remote.transport import RemoteTransport

MAX_PAGES = 10_000
SCOPE = "registry:catalog:*"
REFUSALS = (RemoteUnauthorized, RemoteNotFound, RemoteRefused, RemoteCorrupt)
"""What one part may answer without spoiling the others; an error that may pass spoils all, and is tried again."""


@dataclass(frozen=True, slots=True)
class TagRule:
    """A rule about the tags of a project: which `template` with which number, for which repositories and tags.

    Patterns are Harbor's; `is_plain` says that both are matched as they stand: `matches` and `repoMatches`, not their opposites.
    """

    project: str
    template: str
    repositories: str
    tags: str
    number: int = 0
    is_plain: bool = True

    def __str__(self) -> str:
        number = f" {self.number}" if self.number else ""
        return f"{self.template}{number} for tags {self.tags} of {self.project}/{self.repositories}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What may be migrated: paths, and rules of projects about tags.

    `left_out` are paths or projects that are not migrated, with the reasons; `remarks` tell of what has no counterpart.
    `quotas` are bytes by project. `untagged` are manifests without a tag by path, and `access` is there, where they were asked
    for.
    """

    served: tuple[Served, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    immutable: tuple[TagRule, ...] = ()
    retention: tuple[TagRule, ...] = ()
    quotas: Mapping[str, int] = field(default_factory=dict)
    access: ForeignAccess | None = None
    untagged: Mapping[str, Sequence[Digest]] = field(default_factory=dict)


async def fetch_json(transport: RemoteTransport, path: str) -> tuple[object, httpx.Response]:
    """Return a JSON document and the response that it came in; raise RemoteCorrupt for what is none."""
    response = await transport.request("GET", path, scope=SCOPE, headers={"Accept": "application/json"})
    try:
        return json.loads(response.content), response
    except (ValueError, RecursionError):
        raise RemoteCorrupt(f"answered {path[:200]} with something other than JSON", registry=transport.host) from None


async def read_lists(
    transport: RemoteTransport, path: str, tally: EntryTally | None = None
) -> AsyncIterator[Mapping[str, object]]:
    """Yield the entries of a list of JSON objects, page by page: Link says where it goes on, else X-Total-Count that it does.

    `path` asks for the first page by `page=1`; `tally` counts the entries.
    Raises RemoteRefused for a list that goes on at another host, RemoteCorrupt for one that is too long.
    """
    tally = tally or EntryTally(transport.host)
    count, number, following = 0, 1, path
    seen: set[str] = set()
    while True:
        if following in seen or len(seen) >= MAX_PAGES:
            raise RemoteCorrupt(f"pages its list in a loop at {following[:200]}", registry=transport.host)
        seen.add(following)
        page, response = await fetch_json(transport, following)
        found = page if page is not None else []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise RemoteCorrupt(f"answered {path[:200]} with no list of objects", registry=transport.host)
        tally.add(len(found))
        for one in found:
            yield one
        count, number = count + len(found), number + 1
        linked = next_at_home(response, transport.host)
        total = response.headers.get("x-total-count", "")
        if linked:
            following = linked
        elif found and total.isdecimal() and total.isascii() and count < int(total[:12]):
            following = path.replace("page=1&", f"page={number}&", 1)
        else:
            return


def next_at_home(response: httpx.Response, host: str) -> str | None:
    """Return path and query of the next page by its Link; None for the last one; raise RemoteRefused for one at another host."""
    for target, parameters in parse_links(response.headers.get_list("link")):
        if "next" in parameters.get("rel", "").lower().split():
            try:
                url = response.request.url.join(target)
            except (httpx.InvalidURL, ValueError):
                raise RemoteCorrupt("does not say where its list goes on", registry=host) from None
            if url.host != response.request.url.host or url.raw_path.startswith(b"//"):
                where = f"{url.host}{url.path}"[:200]
                raise RemoteRefused(f"says that its list goes on at {where}, where it is not read", registry=host)
            return url.raw_path.decode("ascii")
    return None


async def read_digests(listed: AsyncIterable[object], path: str, remarks: list[str], tally: EntryTally) -> list[Digest]:
    """Return digests of manifests without a tag; what is no digest is a remark, and so is a list that cannot be read."""
    found: dict[Digest, None] = {}
    try:
        async for value in listed:
            try:
                found[Digest.parse(str(value))] = None
            except DigestInvalid:
                remarks.append(f"a manifest of {path} without a tag has no digest, and stays behind")
    except REFUSALS as error:
        tally.check()
        remarks.append(f"manifests of {path} without a tag: {error.message}")
    return list(found)
