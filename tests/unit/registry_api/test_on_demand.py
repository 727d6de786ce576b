"""What a fetch lets its clients read: from memory first, then from the file, and never the end before it is verified."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import cast

import pytest

from catalog.blobs.uploads import UploadSession
from oci.digest import Digest
from registry_api.on_demand import WITHHELD, ArrivingBlob, Fetch, _in_pieces

FIRST = b"first bytes"


class File:
    """Stands for an upload session with an empty file."""

    def __init__(self, name: str) -> None:
        self.id, self._descriptor = name, os.memfd_create(name)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def begun(size: int, name: str = "one") -> tuple[Fetch, File]:
    file, fetch = File(name), Fetch(Digest.of(b""), size)
    fetch.begin(cast("UploadSession", file))
    return fetch, file


def test_the_first_bytes_are_read_from_memory_until_the_file_has_them() -> None:
    async def check() -> None:
        fetch, file = begun(WITHHELD + len(FIRST))
        fetch.hand_on(FIRST)
        blob = ArrivingBlob(fetch)
        assert await fetch.begun()
        assert await blob.until(0) == len(FIRST)
        assert blob.unwritten(0, 5) == FIRST[:5]
        assert blob.unwritten(6, 100) == FIRST[6:]
        assert blob.unwritten(len(FIRST), 5) == b""
        os.write(file.fileno(), FIRST)
        fetch.advance(len(FIRST))
        assert (blob.unwritten(0, 5), blob.read_at(0, 5)) == (b"", FIRST[:5])
        blob.close()
        assert blob.unwritten(0, 5) == b""
        fetch.end()
        file.close()

    asyncio.run(check())


def test_the_end_is_not_handed_on() -> None:
    fetch, file = begun(WITHHELD + 4)
    fetch.hand_on(FIRST)
    assert fetch.readable == 4
    fetch.end()
    file.close()


@pytest.mark.parametrize(("size", "expected"), [(-1, False), (0, False), (WITHHELD, False), (WITHHELD + 1, True)])
def test_only_what_is_longer_than_the_end_is_handed_on(size: int, expected: bool) -> None:
    assert Fetch(Digest.of(b""), size).may_hand_on == expected


def test_another_source_begins_without_the_bytes_of_the_one_before() -> None:
    fetch, file = begun(WITHHELD + 100)
    fetch.hand_on(FIRST)
    other = File("other")
    fetch.begin(cast("UploadSession", other))
    assert (fetch.readable, fetch.unwritten(0, 5)) == (0, b"")
    fetch.end()
    file.close()
    other.close()


@pytest.mark.parametrize(
    ("first", "lengths"), [(1, [1_000, 16_000 + 1_000, 33_000, 49_000]), (16_384, [17_000, 33_000, 50_000])]
)
def test_pieces_grow_from_the_first(first: int, lengths: list[int]) -> None:
    data = os.urandom(100_000)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 1_000):
            yield data[start : start + 1_000]

    async def pieces() -> list[bytes]:
        return [piece async for piece in _in_pieces(chunks(), first)]

    found = asyncio.run(pieces())
    assert b"".join(found) == data
    assert [len(piece) for piece in found] == lengths
