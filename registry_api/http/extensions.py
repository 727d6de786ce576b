"""What our server offers a request beyond ASGI, in the scope's `extensions`; no other server does."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from registry_api.http.messages import Headers

SEND_WHOLE = "entrepot.send_whole"
"""Sends a whole response by one call and one write; see `SendWhole`."""

SEND_FILE = "entrepot.send_file"
"""Sends a response whose body is a part of a file, by the system; see `SendFile`."""

Fetch = Callable[[int, int], Awaitable[int]]
"""Called with a position and a length before that much is sent: brings it into memory where it may have to come from disk, and
returns how much of it there is, 0 at the end of the file."""


class SendWhole(Protocol):
    """Sends a response in the place of ASGI's two messages; to a HEAD without the body."""

    def __call__(self, status: int, headers: Headers, body: bytes, /) -> bool:
        """Return whether that can be done now; if not, nothing is sent."""
        ...


class SendFile(Protocol):
    """Sends a response whose body is a part of a file, in the place of ASGI's messages."""

    async def __call__(
        self, status: int, headers: Headers, descriptor: int, first: int, length: int, fetch: Fetch
    ) -> bool:
        """Return whether that can be done now; if not, nothing is sent. A client that goes away ends it early."""
        ...
