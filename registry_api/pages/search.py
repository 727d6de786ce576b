"""The page of search: names from memory; tags, digests, labels and packages by the index, within what the caller may see."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from catalog.search.terms import SearchHit, SearchResult, parse_term
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_MOST = 50
_SEARCHED = {
    "text": "names, tags and packages",
    "digest": "digests",
    "label": "labels and annotations",
    "package": "packages",
}


class SearchHitOut(BaseModel):
    """Something that was found at a path: a tag, manifest, blob, or an image with a package; `value` of a label, or its name."""

    name: str
    kind: str
    tag: str
    digest: str
    value: str


class SearchPage(BaseModel):
    """What a text finds: paths whose names hold it, and content; at most fifty of each.

    `is_cut`: there may be more; `is_stopped`: because the search would have cost too much.
    `has_packages`: packages were looked at too, which they are not while the index is being made.
    """

    text: str
    searched_in: str
    names: list[str]
    total_names: int
    content: list[SearchHitOut]
    is_cut: bool
    is_stopped: bool
    has_packages: bool


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/search")
@router.get("/search.json")
async def show_search(visit: CurrentVisit, q: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Show what a text finds."""
    return await visit.respond("search.html", lambda visit: read_search(visit, q.strip()))


def read_search(visit: Visit, text: str) -> SearchPage:
    """Return the view model; no query, one after a commit, and another for blobs that a digest begins."""
    term = parse_term(text)
    names = [name for name in visit.paths.names if text.lower() in name] if text and term.kind == "text" else []
    found = visit.catalog.search.find(term, visit.paths.scopes, limit=_MOST + 1) if len(text) > 1 else SearchResult([])
    shown = visit.paths.by_repository
    return SearchPage(
        text=text,
        searched_in=_SEARCHED[term.kind],
        names=names[:_MOST],
        total_names=len(names),
        content=[_found_out(one, shown[one.repository][0].name) for one in found.hits[:_MOST]],
        is_cut=found.is_cut or len(found.hits) > _MOST,
        is_stopped=found.is_cut,
        has_packages=found.has_packages,
    )


def _found_out(found: SearchHit, name: str) -> SearchHitOut:
    return SearchHitOut(name=name, kind=found.kind, tag=found.tag, digest=found.digest, value=found.value[:500])
