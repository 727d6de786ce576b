"""What is sent to a remote: bodies, and the authorization that goes with them."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

Content = bytes | AsyncIterator[bytes] | None
Authorize = Callable[[httpx.URL], Awaitable[str | None]]
"""Gives the Authorization for a URL; it is called anew for each place that a request is sent on to."""


def is_repeatable(content: Content) -> bool:
    """Return whether a request with this content can be sent again."""
    return content is None or isinstance(content, bytes)


def waited_for(content: Content, error: httpx.TransportError, seconds: float, byte: float) -> float:
    """For how long of the `seconds` of a request that failed a byte was waited for: while a body was on its way, only at its end,
    for up to `byte` seconds."""
    if is_repeatable(content):
        return seconds
    return min(seconds, byte) if isinstance(error, httpx.TimeoutException) else 0.0


async def no_authorization(_url: httpx.URL) -> str | None:
    """Send none."""
    return None
