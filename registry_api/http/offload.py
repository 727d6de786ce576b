"""Offloading: a proxy in front of us sends the file of a blob in our place, after we have said that the client may have it.

It is done where all of these hold; else we send the bytes ourselves:

1. The request comes from a trusted proxy: a client that reaches us directly would get an empty body.
2. The proxy asks for it, by the header that nginx sets and clients cannot set through it: others know no X-Accel-Redirect.
3. The proxy reads the request's conditions and range as we do.

Source: nginx, "X-Accel"; the header X-Sendfile-Type is that of Rack::Sendfile.
"""

import re

from starlette.types import Scope

from registry_api.http.forwarded import TrustedProxies
from registry_api.http.messages import RoutedRequest, find_header

REDIRECT = b"x-accel-redirect"
"""The response's header that names the file to send."""

_ASKS = b"x-sendfile-type"
_MARK = "entrepot.offload"
_OUR_CONDITIONS = (b"if-match", b"if-unmodified-since")
"""Conditions that nginx heeds and we do not."""

_PLAIN_RANGE = re.compile(rb"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")
"""Ranges of one form, which nginx and we read alike."""


class Offload:
    """Marks the requests whose blobs a proxy may send; `path` is its internal location over the storage folder."""

    def __init__(self, path: str, proxies: TrustedProxies) -> None:
        self._path, self._proxies = path, proxies

    def mark(self, scope: Scope) -> None:
        """Mark the request where its proxy may and can send files; to be called while `client` is the proxy still."""
        peer = scope.get("client")
        if self._path and peer and self._proxies.trusts(peer[0]):
            asked = find_header(scope, _ASKS)
            if asked is not None and asked.lower() == REDIRECT:
                scope[_MARK] = self._path


def offload_path(request: RoutedRequest) -> str | None:
    """Return the path of the proxy's location for blobs where the proxy is to send what is requested; else None. Pure."""
    path: str | None = request.scope.get(_MARK)
    if path is None or any(request.header(name) is not None for name in _OUR_CONDITIONS):
        return None
    span = request.header(b"range")
    return path if span is None or _PLAIN_RANGE.fullmatch(span) else None
