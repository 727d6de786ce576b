"""Lists of tags and of repositories. Source: distribution-spec, "Listing Tags"; docker's API for `_catalog`."""

import json
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence

from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest, WholeResponse, json_response
from registry_api.http.paging import next_link, parse_count
from registry_api.http.response_cache import body_size

_MANY = 5_000
"""Tags from which on a page is made on a thread, since it would delay other requests."""


async def get_tags(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with a repository's tags that can be pulled, in ASCII order; raise NameUnknown or PaginationInvalid."""
    count, last = parse_count(request.parameter("n")), request.parameter("last") or ""
    snapshot, serial = await registry.served(request.name), 0
    if registry.gates.active and (view := await registry.find_view(request.name, snapshot)) is not None:
        snapshot, serial = view.snapshot, view.serial

    def page() -> WholeResponse:
        tags = snapshot.tags_after(last, None if count is None else count + 1)
        return _page_response(request, "tags", tags, count, {"name": request.name})

    if min(len(snapshot.tags), _MANY if count is None else count) < _MANY:
        return page()
    key = ("tags", request.name, snapshot.repository, snapshot.version, serial, count, last)
    return await _cached(registry, request, key, None, page)


async def get_tags_with(upstream: Sequence[str], registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with the tags of a repository below a cache, those of upstream included that are not here yet."""
    count = parse_count(request.parameter("n"))
    here = await registry.find_served(request.name)
    passing = await registry.passing(request.name, here)
    held = (here.tags.keys() - passing.tags.keys()) if here and passing else set()
    tags = sorted({*upstream, *(passing.tags if passing else ())} - held)
    start = bisect_right(tags, request.parameter("last") or "")
    return _page_response(request, "tags", tags[start:], count, {"name": request.name})


async def get_repositories(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """Respond with the paths that the caller may pull from, in ASCII order; raise PaginationInvalid."""
    count, last = parse_count(request.parameter("n")), request.parameter("last") or ""
    caller = request.caller.unscoped if request.caller.lists else request.caller

    def page() -> WholeResponse:
        distributions = registry.catalog.distributions.all()
        names = [served.path for served in distributions if registry.access.may_pull(caller, served)]
        return _page_response(request, "repositories", names[bisect_right(names, last) :], count, {})

    return await _cached(registry, request, ("catalog", caller, count, last), await registry.state(caller), page)


async def _cached(
    registry: Registry, request: RoutedRequest, key: Hashable, state: Hashable, page: Callable[[], WholeResponse]
) -> WholeResponse:
    """Return a page from the response cache, or made on a thread."""

    async def make() -> WholeResponse:
        return await registry.threads.make(page)

    cost_key = registry.cost_key(request.caller, request.scope)
    return await registry.responses.get(key, state, cost_key, make, lambda response: body_size(response.body))


def _page_response(
    request: RoutedRequest, key: str, rest: Sequence[str], count: int | None, fields: dict[str, object]
) -> WholeResponse:
    """Return the first page of the rest; an empty page has no next link, which would lead to itself."""
    page = rest if count is None else rest[:count]
    body = json.dumps({**fields, key: list(page)}).encode()
    if not page or len(page) == len(rest):
        return json_response(body)
    return json_response(body, (b"link", next_link(request.path, {"n": str(count), "last": page[-1]})))
