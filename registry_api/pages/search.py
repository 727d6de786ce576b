"""The page of search: names from memory; tags, digests and labels by one query, within what the caller may see."""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.browse.search import SearchHit, SearchScope, SearchTerm, parse_term
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_MOST = 50


class SearchHitOut(BaseModel):
    """Something that was found at a path: a tag, a manifest or a blob; of a label also its value."""

    name: str
    kind: str
    tag: str
    digest: str
    value: str


class SearchPage(BaseModel):
    """What a text finds: paths whose names hold it, and content; at most fifty of each."""

    text: str
    searched_in: str
    names: list[str]
    total_names: int
    content: list[SearchHitOut]
    is_cut: bool


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/search")
@router.get("/search.json")
async def show_search(visit: CurrentVisit, q: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Show what a text finds."""
    return await visit.respond("search.html", lambda visit: read_search(visit, q.strip()))


def read_search(visit: Visit, text: str) -> SearchPage:
    """Return the view model; one query."""
    term = parse_term(text)
    names = [name for name in visit.paths.names if text.lower() in name] if text and term.kind == "text" else []
    content = _find_content(visit, term) if len(text) > 1 else []
    return SearchPage(
        text=text,
        searched_in={"text": "names and tags", "digest": "digests", "label": "labels and annotations"}[term.kind],
        names=names[:_MOST],
        total_names=len(names),
        content=content[:_MOST],
        is_cut=len(content) > _MOST,
    )


def _find_content(visit: Visit, term: SearchTerm) -> list[SearchHitOut]:
    shown = {repository: paths[0] for repository, paths in visit.paths.by_repository.items()}
    within = (SearchScope(repository, path.version) for repository, path in shown.items())
    found = visit.catalog.browse.search(term, within, limit=_MOST + 1)
    return [_found_out(one, shown[one.repository].name) for one in islice(found, _MOST + 1)]


def _found_out(found: SearchHit, name: str) -> SearchHitOut:
    return SearchHitOut(name=name, kind=found.kind, tag=found.tag, digest=found.digest, value=found.value[:500])
