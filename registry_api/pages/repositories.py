"""The page of all repositories that the caller may see: by name, some at a time."""

from datetime import datetime
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.browse.recent_versions import RepositoryHead
from catalog.quotas.totals import Total
from registry_api.pages.framework.visible_paths import VisiblePath
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_PAGE = 50


class ListedPath(BaseModel):
    """A path or repository; sizes in bytes. Of one that serves a fixed version, what it holds is not counted here."""

    name: str
    description: str
    is_private: bool
    is_served: bool
    version: int | None
    tags: int | None = None
    size_bytes: int | None = None
    updated_at: datetime | None = None


class RepositoriesPage(BaseModel):
    """Names that hold `text`, those after `last`; `next` is where the following page begins, empty on the last one."""

    text: str
    last: str
    total: int
    paths: list[ListedPath]
    next: str


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/repositories")
@router.get("/repositories.json")
async def show_repositories(
    visit: CurrentVisit,
    q: Annotated[str, Query(max_length=300)] = "",
    last: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Show the repositories."""
    text = q.strip().lower()
    return await visit.respond("repositories.html", lambda visit: read_repositories(visit, text, last), block="results")


def read_repositories(visit: Visit, text: str, last: str) -> RepositoriesPage:
    """Return the view model; one query where something was committed since the last page."""
    heads, paths = visit.recent().heads, visit.paths
    shown = list(islice(paths.after(last, text), _PAGE + 1))
    total = sum(text in name for name in paths.names) if text else len(paths.all)
    return RepositoriesPage(
        text=text,
        last=last,
        total=total,
        paths=[
            _path_out(place, heads.get(place.repository), visit.catalog.quotas.totals.of(place.repository))
            for place in shown[:_PAGE]
        ],
        next=shown[_PAGE - 1].name if len(shown) > _PAGE else "",
    )


def _path_out(place: VisiblePath, head: RepositoryHead | None, total: Total) -> ListedPath:
    is_latest = place.version is None
    return ListedPath(
        name=place.name,
        description=place.description,
        is_private=place.is_private,
        is_served=place.is_served,
        version=place.version,
        tags=total.tags if is_latest else None,
        size_bytes=total.bytes if is_latest else None,
        updated_at=head.updated_at if is_latest and head else None,
    )
