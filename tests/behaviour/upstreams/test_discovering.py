"""Registries whose catalog is odd are replicated whole, or not at all: a path that no list shows would be taken for gone."""

import asyncio
import gzip
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs

import pytest

from oci.errors import RemoteCorrupt
from oci.remote.discovery.discovery import discover
from oci.remote.options import RemoteOptions
from oci.remote.transport import RemoteTransport
from tests.upstream import Reply, Seen, Upstream

Link = Callable[[str], str]


class Odd(NamedTuple):
    """That many `names` on pages of `page`; `link` makes the Link to the next one, of its path, empty for none."""

    names: int = 3
    page: int = 1
    link: Link = lambda path: f'<{path}>; rel="next"'
    encode: Callable[[bytes], bytes] | None = None
    ignores_last: bool = False
    is_refused: bool = False


CATALOGS: Mapping[str, Odd] = {
    "nothing-odd": Odd(),
    "link-on-an-internal-host": Odd(link=lambda path: f'<http://registry.internal:5000{path}>; rel="next"'),
    "link-in-capitals": Odd(link=lambda path: f'<{path}>; REL="NEXT"'),
    "encoded": Odd(encode=gzip.compress),
    "page-that-is-cut-without-a-link": Odd(names=130, page=50, link=lambda _path: ""),
    "whole-and-as-round-as-a-limit": Odd(names=100, page=100, link=lambda _path: "", ignores_last=True),
    "link-that-does-not-say-what-it-is": Odd(link=lambda path: f"<{path}>", is_refused=True),
}


@pytest.mark.parametrize("odd", CATALOGS.values(), ids=CATALOGS)
def test_all_names_are_found(odd: Odd) -> None:
    names = [f"team/app-{number:04}" for number in range(odd.names)]

    def catalog(seen: Seen, _good: Reply) -> Reply | None:
        if seen.path != "/v2/_catalog":
            return None
        last = parse_qs(seen.query).get("last", [""])[0]
        rest = [name for name in names if name > last or odd.ignores_last]
        body = json.dumps({"repositories": rest[: odd.page]}).encode()
        headers = {"content-encoding": "gzip"} if odd.encode else {}
        link = odd.link(f"/v2/_catalog?last={rest[odd.page - 1]}") if len(rest) > odd.page else ""
        return Reply(200, odd.encode(body) if odd.encode else body, headers | ({"link": link} if link else {}))

    with Upstream({}) as upstream:
        upstream.faults.append(catalog)

        async def connect(_only_basic: bool) -> RemoteTransport:
            return RemoteTransport(upstream.host, scheme="http", options=RemoteOptions(attempts=1))

        if odd.is_refused:
            with pytest.raises(RemoteCorrupt, match="where the next one is"):
                asyncio.run(discover(upstream.host, connect, kinds=("catalog",)))
            return
        found = asyncio.run(discover(upstream.host, connect, kinds=("catalog",)))
        assert [one.path for one in found.served] == names
