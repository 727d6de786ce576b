"""Lists of tags and of repositories. Source: distribution-spec, "Listing Tags"; docker's API for `_catalog`."""

import json
from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence

from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest, WholeResponse, json_response
from registry_api.http.paging import next_link, parse_count
from registry_api.http.response_cache import body_size

_MANY = 5_000
"""Tags from which on making a page takes long enough to keep others waiting."""


async def list_tags(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """WholeResponse with a repository's tags in ASCII order; raise NameUnknown or PaginationInvalid."""
    count, last = parse_count(request.parameter("n")), request.parameter("last") or ""
    snapshot = await registry.served(request.name)

    def page() -> WholeResponse:
        tags = snapshot.tags_after(last, None if count is None else count + 1)
        return _page_answer(request, "tags", tags, count, {"name": request.name})

    if min(len(snapshot.tags), _MANY if count is None else count) < _MANY:
        return page()
    asked = ("tags", request.name, snapshot.repository, snapshot.version, count, last)
    return await _kept(registry, request, asked, None, page)


async def list_tags_with(upstream: Sequence[str], registry: Registry, request: RoutedRequest) -> WholeResponse:
    """The same of a repository below a cache, with those that upstream has and that nobody has pulled yet."""
    count = parse_count(request.parameter("n"))
    snapshot = await registry.find_served(request.name)
    tags = sorted({*upstream, *(snapshot.tags if snapshot else ())})
    start = bisect_right(tags, request.parameter("last") or "")
    return _page_answer(request, "tags", tags[start:], count, {"name": request.name})


async def list_repositories(registry: Registry, request: RoutedRequest) -> WholeResponse:
    """WholeResponse with the paths that the user may pull from, in ASCII order; raise PaginationInvalid."""
    count, last = parse_count(request.parameter("n")), request.parameter("last") or ""
    caller = request.caller.unscoped if request.caller.lists else request.caller

    def page() -> WholeResponse:
        names = [one.path for one in registry.catalog.distributions.all() if registry.access.may_pull(caller, one)]
        return _page_answer(request, "repositories", names[bisect_right(names, last) :], count, {})

    return await _kept(registry, request, ("catalog", caller, count, last), await registry.state(caller), page)


async def _kept(
    registry: Registry, request: RoutedRequest, asked: Hashable, state: Hashable, page: Callable[[], WholeResponse]
) -> WholeResponse:
    """A page as it was kept, or made on a thread."""

    async def make() -> WholeResponse:
        return await registry.threads.make(page)

    cost_key = registry.cost_key(request.caller, request.scope)
    return await registry.responses.get(asked, state, cost_key, make, lambda made: body_size(made.body))


def _page_answer(
    request: RoutedRequest, key: str, found: Sequence[str], count: int | None, fields: dict[str, object]
) -> WholeResponse:
    """One page of what is left; a page of none has no next, for it would be the same again."""
    page = found if count is None else found[:count]
    body = json.dumps({**fields, key: list(page)}).encode()
    if not page or len(page) == len(found):
        return json_response(body)
    return json_response(body, (b"link", next_link(request.path, {"n": str(count), "last": page[-1]})))
