"""Reading request bodies: whole ones within a limit, and streams in batches that are worth a thread's while."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message, Receive

from oci.errors import EntrepotError
from registry_api.http.errors import BodyTooLarge, RequestStalled

BATCH = 1024 * 1024
"""Bytes gathered before they are handed on. A batch is all that one upload holds in memory, twice at most."""

PATIENCE = 60.0
"""Seconds a client may be silent within a body before it is taken for gone, and its session set free."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_whole(
    receive: Receive, *, limit: int, announced: int | None, too_large: type[EntrepotError] = BodyTooLarge
) -> bytes:
    """Return the body; raise `too_large` as soon as it is, or is announced to be, above `limit` bytes."""
    if announced is not None and announced > limit:
        raise too_large(f"{announced} bytes are above the limit of {limit}")
    parts: list[bytes] = []
    size = 0
    async for part in _parts(receive):
        size += len(part)
        if size > limit:
            raise too_large(f"the body is above the limit of {limit} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_batches(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body in batches of about BATCH bytes, none empty; what came before a break is yielded before it is raised."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in _parts(receive):
            parts.append(part)
            size += len(part)
            if size >= BATCH:
                yield b"".join(parts)
                parts, size = [], 0
    except (ClientGone, RequestStalled):
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await _next(receive)
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        if body:
            yield body


def whole_body(raw: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body already read, once, for those who read it by themselves, such as FastAPI."""
    messages: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


async def _next(receive: Receive) -> Message:
    try:
        async with asyncio.timeout(PATIENCE):
            return await receive()
    except TimeoutError:
        raise RequestStalled(f"nothing of the body came for {PATIENCE:g} seconds") from None
