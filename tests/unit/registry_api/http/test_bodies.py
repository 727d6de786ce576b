"""Bodies in batches: nothing lost, nothing kept beyond the limit, breaks told."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive

from registry_api.http import bodies
from registry_api.http.bodies import ClientGone, read_batches, read_whole
from registry_api.http.errors import BodyTooLarge


def _receiving(parts: Sequence[bytes], *, broken: bool = False) -> Receive:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.disconnect"} if broken else {"type": "http.request"})
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return receive


@settings(deadline=None)
@given(st.lists(st.integers(0, 700_000), max_size=8), st.booleans())
def test_batches_are_the_body_and_large_enough(lengths: list[int], broken: bool) -> None:
    parts = [bytes([number]) * length for number, length in enumerate(lengths)]

    async def run() -> tuple[list[bytes], bool]:
        got: list[bytes] = []
        try:
            async for batch in read_batches(_receiving(parts, broken=broken)):
                got.append(batch)  # noqa: PERF401  # what came before the break counts
        except ClientGone:
            return got, True
        return got, False

    got, was_broken = asyncio.run(run())
    assert b"".join(got) == b"".join(parts)
    assert all(len(batch) >= bodies.BATCH for batch in got[:-1])
    assert all(got)
    assert was_broken == broken


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(0, 100))
def test_a_whole_body_is_read_within_the_limit(parts: list[bytes], limit: int) -> None:
    whole = b"".join(parts)

    async def run() -> bytes:
        return await read_whole(_receiving(parts), limit=limit, announced=None)

    if len(whole) <= limit:
        assert asyncio.run(run()) == whole
    else:
        with pytest.raises(BodyTooLarge):
            asyncio.run(run())


def test_what_is_announced_above_the_limit_is_not_read() -> None:
    async def receive() -> Message:
        raise AssertionError("read")

    with pytest.raises(BodyTooLarge):
        asyncio.run(read_whole(receive, limit=10, announced=11))
