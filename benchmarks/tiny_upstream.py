"""An upstream with any number of tiny repositories, made when they are asked for: it costs little, and counts its requests.

Run it as a process: `python -m benchmarks.tiny_upstream PORT REPOSITORIES`. `/counts` tells the requests by route.
"""

import functools
import json
import re
import sys
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from oci.descriptor import Descriptor
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image

PREFIX = "tiny/r-"
_PAGE = 1000
_ROUTE = re.compile(rf"/v2/({PREFIX}(\d+))/(tags|manifests|blobs)/(.+)")


@functools.lru_cache(maxsize=4096)
def repository(number: int) -> tuple[Manifest, dict[str, bytes]]:
    """Return the image of a repository and its blobs: one layer of some hundred bytes, of this repository alone."""
    store = MemoryStore()
    manifest = pack_image(store, [{"file": f"{PREFIX}{number}"}])
    return manifest, {str(digest): data for digest, data in store.blobs.items()}


class TinyUpstream:
    """The ASGI application."""

    def __init__(self, repositories: int) -> None:
        self._names = [f"{PREFIX}{number:06}" for number in range(repositories)]
        self.counts: Counter[str] = Counter()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        status, headers, body = self._answer(scope["method"], scope["path"], scope["query_string"].decode())
        headers = {"content-length": str(len(body)), **headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, method: str, path: str, query: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/counts":
            return 200, {}, json.dumps(self.counts).encode()
        if path == "/v2/_catalog":
            self.counts["catalog"] += 1
            return self._catalog(parse_qs(query).get("last", [""])[0])
        match = _ROUTE.fullmatch(path)
        if match is None:
            self.counts[f"{method} other"] += 1
            return (200, {}, b"{}") if path.rstrip("/") == "/v2" else (404, {}, b"{}")
        self.counts[f"{method} {match[3]}"] += 1
        return _content(match[1], int(match[2]), match[3], match[4])

    def _catalog(self, last: str) -> tuple[int, dict[str, str], bytes]:
        begin = self._names.index(last) + 1 if last else 0
        page = self._names[begin : begin + _PAGE]
        is_last = begin + _PAGE >= len(self._names)
        link = {} if is_last else {"link": f'</v2/_catalog?last={page[-1].replace("/", "%2F")}&n={_PAGE}>; rel="next"'}
        return 200, link, json.dumps({"repositories": page}).encode()


def _content(name: str, number: int, kind: str, reference: str) -> tuple[int, dict[str, str], bytes]:
    manifest, blobs = repository(number)
    if kind == "tags":
        return 200, {"content-type": "application/json"}, json.dumps({"name": name, "tags": ["v1"]}).encode()
    if kind == "blobs":
        return (200, {}, blobs[reference]) if reference in blobs else (404, {}, b"{}")
    if reference not in ("v1", manifest.digest):
        return 404, {}, b"{}"
    descriptor: Descriptor = manifest.descriptor
    return (
        200,
        {"content-type": manifest.media_type, "docker-content-digest": str(descriptor.digest)},
        manifest.raw,
    )


if __name__ == "__main__":
    uvicorn.run(TinyUpstream(int(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="critical")
