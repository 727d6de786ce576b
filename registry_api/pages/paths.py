"""The page of paths: which repository or version each serves, and the caches that the caller administers."""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.distributions.records import Distribution
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_PAGE = 100


class ServedPathOut(BaseModel):
    """A path and what it serves; `repository` is empty for who may not know it. `version` None is the latest."""

    path: str
    repository: str
    version: int | None
    is_private: bool
    immutable_tags: list[str]
    replica_of: str
    description: str


class CachePathOut(BaseModel):
    """A pull-through cache; sizes in bytes, 0 for no limit."""

    path: str
    remote: str
    is_private: bool
    include: list[str]
    exclude: list[str]
    bring: str
    max_bytes: int
    keep_unused_days: float
    fresh_seconds: int


class PathsPage(BaseModel):
    """Paths that hold `text`, those after `last`; caches are all that the caller administers."""

    text: str
    last: str
    total: int
    caches: list[CachePathOut]
    paths: list[ServedPathOut]
    next: str


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/paths")
@router.get("/paths.json")
async def show_paths(
    visit: CurrentVisit,
    q: Annotated[str, Query(max_length=300)] = "",
    last: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Show paths and caches."""
    text = q.strip().lower()
    return await visit.respond("paths.html", lambda visit: read_paths(visit, text, last))


def read_paths(visit: Visit, text: str, last: str) -> PathsPage:
    """Return the view model; no query."""
    distributions = visit.catalog.distributions
    served = (distributions.find(path.name) for path in visit.paths.after(last, text) if path.is_served)
    shown = list(islice((one for one in served if one is not None), _PAGE + 1))
    caches = sorted(distributions.caches(), key=lambda cache: cache.path)
    return PathsPage(
        text=text,
        last=last,
        total=sum(text in path.name for path in visit.paths.all if path.is_served),
        caches=[_cache_out(one) for one in caches if visit.may("admin", one.path)],
        paths=[_path_out(visit, one) for one in shown[:_PAGE]],
        next=shown[_PAGE - 1].path if len(shown) > _PAGE else "",
    )


def _path_out(visit: Visit, served: Distribution) -> ServedPathOut:
    path = visit.paths.by_name[served.path]
    is_known = path.has_history or path.name == path.repository
    return ServedPathOut(
        path=served.path,
        repository=served.repository if is_known else "",
        version=served.version,
        is_private=served.private,
        immutable_tags=list(served.immutable_tags),
        replica_of=served.replica_of if path.has_history else "",
        description=served.description,
    )


def _cache_out(cache: Distribution) -> CachePathOut:
    rules = cache.cache
    return CachePathOut(
        path=cache.path,
        remote=cache.remote,
        is_private=cache.private,
        include=list(rules.include),
        exclude=list(rules.exclude),
        bring=rules.bring,
        max_bytes=rules.max_size,
        keep_unused_days=rules.keep_unused_days,
        fresh_seconds=cache.fresh_seconds,
    )
