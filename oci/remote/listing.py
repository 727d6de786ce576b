"""Lists of a registry, page by page, and whether all of them has been seen."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import quote

import httpx

from oci.errors import RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.remote.paging import may_be_cut, next_page

_MAX_PAGES = 100_000
_PAGE = 1000
"""Tags that one page is asked for."""

_TAGS_BYTES = 64 * 1024 * 1024
"""Bytes of one page of tags: some registries list all tags at once."""

Page = Mapping[str, object]
Get = Callable[..., Awaitable[httpx.Response]]
"""Sends a GET for a path, and may be given a `limit` of bytes."""


async def pages(get: Get, path: str, host: str, **options: int) -> AsyncIterator[tuple[Page, str | None]]:
    """Follow Link rel=next; each page with the link to the next one, "?" for a link that cannot be read.

    Raises RemoteCorrupt for a page that is none, or a loop.
    """
    seen: set[str] = set()
    following: str | None = path
    while following:
        if following in seen or len(seen) > _MAX_PAGES:
            raise RemoteCorrupt(f"pages its list in a loop at {following[:200]}", registry=host)
        seen.add(following)
        response = await get(following, **options)
        page = parse_page(response, following, host)
        try:
            following = next_page(response)
        except ValueError:
            yield page, "?"
            return
        yield page, following


def parse_page(response: httpx.Response, path: str, host: str) -> Page:
    """Return a response as a JSON object; raise RemoteCorrupt."""
    try:
        page = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise RemoteCorrupt(f"answered {path[:200]} with what is not JSON", registry=host) from error
    if not isinstance(page, dict):
        raise RemoteCorrupt(f"answered {path[:200]} with JSON that is not an object", registry=host)
    return page


class TagListing:
    """The tags of one repository. `may_be_cut` says, once they were listed, that there may be more of them."""

    def __init__(self, get: Get, path: str, host: str) -> None:
        self._get, self._path, self._host = get, f"{path}?n={_PAGE}", host
        self.may_be_cut = False

    async def tags(self) -> AsyncIterator[str]:
        """Yield every tag once, in the registry's order.

        Some registries cut a list without a link to the rest: one that looks so is asked what comes after its last tag.
        """
        self.may_be_cut = False
        seen: set[str] = set()
        count, last, link = 0, "", ""
        has_links = False
        async for page, following in pages(self._get, self._path, self._host, limit=_TAGS_BYTES):
            listed = self._tags_of(page)
            for tag in listed:
                if tag not in seen:
                    seen.add(tag)
                    yield tag
            count, last, link = len(listed), listed[-1] if listed else last, following or ""
            has_links = has_links or (bool(following) and following != "?")
        if link != "?" and (has_links or not may_be_cut(count, _PAGE)):
            return
        self.may_be_cut = True
        for _ in range(_MAX_PAGES):
            if not last:
                break
            more, self.may_be_cut = await self._after(last, seen, is_unclear=link == "?")
            for tag in more:
                seen.add(tag)
                yield tag
            last = more[-1] if more else ""

    async def _after(self, last: str, seen: set[str], *, is_unclear: bool) -> tuple[list[str], bool]:
        """Return the new tags after one, and whether there may be more nevertheless.

        There may be more where the registry refuses the request, or sends the same page again and that may be cut.
        """
        path = f"{self._path}&last={quote(last, safe='')}"
        try:
            response = await self._get(path, limit=_TAGS_BYTES)
        except (RemoteNotFound, RemoteRefused, RemoteUnauthorized):
            return [], True
        listed = self._tags_of(parse_page(response, path, self._host))
        new = [tag for tag in dict.fromkeys(listed) if tag not in seen]
        return new, bool(listed) and not new and (is_unclear or len(listed) == _PAGE)

    def _tags_of(self, page: Page) -> list[str]:
        tags = page.get("tags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise RemoteCorrupt("lists tags that are not a list of texts", registry=self._host)
        return tags
