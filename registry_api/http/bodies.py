"""Request bodies: read whole within a limit, or streamed in batches that are worth a thread's switch."""

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message, Receive

from oci.errors import EntrepotError
from registry_api.http.errors import BodyTooLarge, RequestStalled

BATCH = 1024 * 1024
"""Bytes of one batch. An upload holds two batches in memory at most."""

PATIENCE = 60.0
"""Seconds that a client may be silent within a body before its session is released."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_whole(
    receive: Receive, *, limit: int, announced: int | None, too_large: type[EntrepotError] = BodyTooLarge
) -> bytes:
    """Return the body; raise `too_large` as soon as it is, or is announced to be, above `limit` bytes."""
    if announced is not None and announced > limit:
        raise too_large(f"the body of {announced} bytes exceeds the limit of {limit} bytes")
    parts: list[bytes] = []
    size = 0
    async for part in _parts(receive):
        size += len(part)
        if size > limit:
            raise too_large(f"the body exceeds the limit of {limit} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def first_message(receive: Receive) -> tuple[Message, Receive]:
    """Return the first message of a body, and what receives it once more and then all others; raise RequestStalled."""
    first = await _next(receive)
    left = [first]

    async def again() -> Message:
        return left.pop() if left else await receive()

    return first, again


async def read_batches(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body in batches of about BATCH bytes, none empty; raise an interruption after the bytes before it."""
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
    is_open = True
    while is_open:
        message = await _next(receive)
        if message["type"] == "http.disconnect":
            raise ClientGone
        is_open = message.get("more_body", False)
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
        raise RequestStalled(f"no byte of the body arrived for {PATIENCE:g} seconds") from None
