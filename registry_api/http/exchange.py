"""What is known of one request and its response, for the metrics and the access log; it lies in the request's scope."""

import re
from collections.abc import Callable
from time import perf_counter
from typing import Any

from starlette.types import Message, Scope, Send

from registry_api.http.extensions import SEND_FILE, Fetch, SendFile
from registry_api.http.messages import Headers, find_header

EXCHANGE = "entrepot.exchange"
"""The key of a request's scope that has its Exchange."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
CLIENT_GONE = 499
"""The status that nobody was sent, since the client was gone; as nginx counts it."""


class Exchange:
    """A request with its route, caller, status and bytes, as far as they are known by now; made for each pull, so it is small."""

    route = account = request_id = trace_id = ""
    status = CLIENT_GONE
    sent = 0
    """Bytes of the response's body."""

    def __init__(self) -> None:
        self.began = perf_counter()

    def watch(self, scope: Scope, send: Send) -> Send:
        """Return what sends a response part by part and counts it; of a file the server sends, as much as it was told to."""
        extensions: dict[str, Any] = scope.get("extensions") or {}
        send_file: SendFile | None = extensions.get(SEND_FILE)
        if send_file is not None:
            extensions[SEND_FILE] = self._watch_file(send_file)

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            elif message["type"] == "http.response.body":
                self.sent += len(message.get("body", b""))
            await send(message)

        return watched

    def _watch_file(self, send_file: SendFile) -> SendFile:
        async def watched(
            status: int, headers: Headers, descriptor: int, first: int, length: int, fetch: Fetch
        ) -> bool:
            if not await send_file(status, headers, descriptor, first, length, fetch):
                return False
            self.status, self.sent = status, length
            return True

        return watched

    def named(self, scope: Scope, make_id: Callable[[], str]) -> str:
        """Return the request's id: the client's `X-Request-Id` where it is plain, else one made for it."""
        if not self.request_id:
            claimed = find_header(scope, b"x-request-id")
            is_plain = claimed is not None and _REQUEST_ID.fullmatch(claimed)
            self.request_id = claimed.decode() if claimed is not None and is_plain else make_id()
        return self.request_id


def exchange_of(scope: Scope) -> Exchange:
    """Return what is known of a request; of one that nobody counts, notes of its own."""
    found: Exchange | None = scope.get(EXCHANGE)
    if found is None:
        found = scope[EXCHANGE] = Exchange()
    return found
