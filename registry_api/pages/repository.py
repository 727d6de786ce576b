"""The page of one repository: its tags with what they point to, and how to pull them."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.filters.companions import is_companion_tag
from catalog.versions.snapshot import Snapshot
from registry_api.pages.changes.promotion import may_promote
from registry_api.pages.changes.tag_deletion import MOST_SELECTED, may_delete_tags
from registry_api.pages.framework.pull_commands import PullOut, find_address, pull_commands
from registry_api.pages.framework.visible_paths import VisiblePath
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_PAGE = 50
_MANY = 20_000
"""Tags beyond which they are listed in ASCII order, since sorting them by their numbers takes long."""


class ListedTag(BaseModel):
    """A tag and what it points to. `size_bytes` are those of a pull, of an index those of all platforms."""

    name: str
    digest: str
    kind: str
    platforms: list[str]
    size_bytes: int | None
    created: str
    pulls: int
    last_pulled_at: datetime | None


class RepositoryPage(BaseModel):
    """Tags of what a path serves, some at a time; `repository` and `version` are empty for who may not know them.

    `can_promote` and `can_delete_tags` say which buttons there are; `deleted` is how many tags one has just deleted.
    """

    name: str
    repository: str
    version: int | None
    is_pinned: bool
    is_private: bool
    is_served: bool
    has_history: bool
    description: str
    tags: int
    companions: int
    size_bytes: int
    manifests: int
    pulls: int
    text: str
    number: int
    pages: int
    shown: list[ListedTag]
    pull: list[PullOut]
    can_promote: bool
    can_delete_tags: bool
    deleted: int


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/repository/{name:path}")
@router.get("/repository.json/{name:path}")
async def show_repository_page(
    visit: CurrentVisit,
    name: str,
    q: Annotated[str, Query(max_length=128)] = "",
    page: Annotated[int, Query(ge=1, le=10**6)] = 1,
    deleted: Annotated[int, Query(ge=0, le=MOST_SELECTED)] = 0,
    *,
    companions: bool = False,
) -> Response:
    """Show one repository."""
    return await visit.respond(
        "repository.html",
        lambda visit: read_repository(visit, name, q.strip(), page, companions=companions, deleted=deleted),
        block="results",
    )


def read_repository(
    visit: Visit, name: str, text: str, number: int, *, companions: bool, deleted: int = 0
) -> RepositoryPage:
    """Return the view model; one query. Raise NameUnknown."""
    path = visit.paths.find(name)
    snapshot = visit.snapshot_of(path)
    hidden = 0 if companions else sum(map(is_companion_tag, snapshot.tags))
    tags = [
        tag
        for tag in order_tags(snapshot.tags)
        if text.lower() in tag.lower() and (companions or not is_companion_tag(tag))
    ]
    shown = tags[(number - 1) * _PAGE : number * _PAGE]
    listed, pulls = _list_tags(visit, path, snapshot, shown)
    return RepositoryPage(
        name=name,
        repository=path.repository if path.has_history else "",
        version=snapshot.version if path.has_history or path.version is not None else None,
        is_pinned=path.version is not None,
        is_private=path.is_private,
        is_served=path.is_served,
        has_history=path.has_history,
        description=path.description,
        tags=len(snapshot.tags),
        companions=hidden,
        size_bytes=snapshot.size_bytes + snapshot.proven_bytes,
        manifests=len(snapshot.manifests),
        pulls=pulls,
        text=text,
        number=number,
        pages=max(1, -(-len(tags) // _PAGE)),
        shown=listed,
        pull=_pull(visit, path, listed[0]) if listed and path.is_served else [],
        can_promote=may_promote(visit, path),
        can_delete_tags=(can_delete_tags := may_delete_tags(visit, path)),
        deleted=deleted if can_delete_tags else 0,
    )


def _list_tags(visit: Visit, path: VisiblePath, snapshot: Snapshot, tags: list[str]) -> tuple[list[ListedTag], int]:
    knows_all = path.version is None or path.has_history
    found = visit.catalog.browse.summaries(path.repository, [snapshot.tags[tag] for tag in tags])
    listed = []
    for tag in tags:
        digest = snapshot.tags[tag]
        summary = found.by_digest.get(digest)
        # A tag's count is of all that it ever pointed to, which who sees one version only may not know.
        pulled = found.pulls.of_tag(tag, digest) if knows_all else found.pulls.manifests.get(digest)
        listed.append(
            ListedTag(
                name=tag,
                digest=digest,
                kind=summary.kind if summary else "",
                platforms=list(summary.platforms) if summary else [],
                size_bytes=summary.bytes if summary else None,
                created=summary.created[:10] if summary else "",
                pulls=pulled.pulls if pulled else 0,
                last_pulled_at=pulled.last_pulled_at if pulled else None,
            )
        )
    counts = [count for digest, count in found.pulls.manifests.items() if knows_all or digest in snapshot.manifests]
    untold = found.pulls.untold.pulls if found.pulls.untold and knows_all else 0
    return listed, sum(count.pulls for count in counts) + untold


def _pull(visit: Visit, path: VisiblePath, tag: ListedTag) -> list[PullOut]:
    address = find_address(visit.registry.hosts, visit.catalog.settings, visit.request.scope)
    lines = pull_commands(tag.kind, address, path.name, tag.name, tag.digest)
    return [PullOut(client=client, command=command) for client, command in lines]


_NUMBERS = re.compile(r"(\d+)")


def order_tags(tags: Iterable[str]) -> list[str]:
    """Return tags as people look for them: `latest` first, then the highest numbers; companions last. Pure."""
    found = list(tags)
    if len(found) > _MANY:
        return sorted(found)

    def key(tag: str) -> tuple[object, ...]:
        parts = [(1, int(part[:30]), "") if part.isdecimal() else (0, 0, part) for part in _NUMBERS.split(tag) if part]
        return tag == "latest", not is_companion_tag(tag), parts

    return sorted(found, key=key, reverse=True)
