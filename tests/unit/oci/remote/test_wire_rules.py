"""The pure rules of reading odd answers: encodings, links, parts of blobs, annotations."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest

from oci.descriptor import read_annotations
from oci.errors import ManifestInvalid, RemoteCorrupt
from oci.remote.decoding import decoded
from oci.remote.paging import may_be_cut, next_page, parse_links
from oci.remote.partial import NoRangeError, first_byte

URL = "https://registry.example/v2/team/app/tags/list?n=2"


def answer(body: bytes = b"", status: int = 200, piece: int = 7, **headers: str) -> httpx.Response:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return httpx.Response(status, headers=named, content=pieces(), request=httpx.Request("GET", URL))


def read(response: httpx.Response) -> list[bytes]:
    async def whole() -> list[bytes]:
        return [piece async for piece in decoded(response, "registry.example")]

    return asyncio.run(whole())


@pytest.mark.parametrize("text", [b"", b"a", b"some text" * 1000])
def test_what_was_encoded_comes_out_as_it_was(text: bytes) -> None:
    assert b"".join(read(answer(text))) == text
    assert b"".join(read(answer(gzip.compress(text), content_encoding="GZip"))) == text
    assert b"".join(read(answer(zlib.compress(text), content_encoding="deflate"))) == text
    assert b"".join(read(answer(gzip.compress(zlib.compress(text)), content_encoding="deflate, gzip"))) == text
    assert b"".join(read(answer(text, content_encoding="identity"))) == text


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("br", b"anything"),
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(b"cut" * 100, mtime=0)[:-9]),
        ("gzip", gzip.compress(b"more", mtime=0) + b"behind it"),
        ("deflate", zlib.compress(b"more") + b"behind it"),
        ("gzip, gzip, gzip, gzip", b""),
    ],
)
def test_what_cannot_be_decoded_is_told(encoding: str, body: bytes) -> None:
    with pytest.raises(RemoteCorrupt, match="cannot be decoded"):
        read(answer(body, content_encoding=encoding))


def test_little_that_becomes_much_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(30_000_000))
    pieces = read(answer(bomb, piece=len(bomb), content_encoding="gzip"))
    assert sum(map(len, pieces)) == 30_000_000
    assert max(map(len, pieces)) <= 65_536


def test_links_are_read_however_they_are_written() -> None:
    assert parse_links(['</a>; rel="next"', "</b,c>;REL=last , </d>"]) == [
        ("/a", {"rel": "next"}),
        ("/b,c", {"rel": "last"}),
        ("/d", {}),
    ]
    for link in (
        '</v2/x?a=b>; rel="next"',
        "<https://other.example/v2/x?a=b>;ReL=NEXT",
        '<../../../x?a=b>; rel="next"',
        '<https://registry.example//v2/x?a=b>; rel="next"',
    ):
        assert next_page(answer(link=link)) == "/v2/x?a=b"
    assert next_page(answer()) is None
    assert next_page(answer(link='</x>; rel="first"')) is None
    for odd in ("</x>", "garbage", '<http://a:b/>; rel="next"'):
        with pytest.raises(ValueError, match=r"page|link"):
            next_page(answer(link=odd))


def test_a_page_that_is_as_long_as_a_limit_may_be_cut() -> None:
    assert [count for count in range(1, 260) if may_be_cut(count, 77)] == [50, 77, 100, 150, 200, 250]
    assert not may_be_cut(0, 1000)


@pytest.mark.parametrize(
    ("status", "content_range", "first"),
    [
        (200, "", 0),
        (206, "bytes 100-199/200", 100),
        (206, "bytes 90-199/*", 90),
        (206, "bytes 101-199/200", None),
        (206, "", None),
        (206, "items 100-199/200", None),
        (416, "bytes */200", None),
    ],
)
def test_where_a_part_begins(status: int, content_range: str, first: int | None) -> None:
    response = answer(b"", status, content_range=content_range)
    if first is None:
        with pytest.raises(NoRangeError):
            first_byte(response, 100)
    else:
        assert first_byte(response, 100) == first


def test_an_annotation_that_is_null_is_empty() -> None:
    assert read_annotations({"a": None, "b": "c"}, where="manifest") == {"a": "", "b": "c"}
    assert read_annotations(None, where="manifest") == {}
    with pytest.raises(ManifestInvalid):
        read_annotations({"a": 1}, where="manifest")
