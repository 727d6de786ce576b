"""Bodies that are sent in an encoding, though none was asked for. Source: RFC 9110 section 8.4.

A little that is sent may decode to very much: what comes out is given in small pieces, so that a reader can stop at its limit.
"""

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import httpx

from oci.errors import RemoteCorrupt

_PIECE = 64 * 1024
_AT_MOST = 3
"""Encodings on top of each other."""


class Decoder(Protocol):
    """Takes encoded bytes in turn."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Give what comes out; raise ValueError for what is not encoded so."""
        ...

    def end(self) -> None:
        """Raise ValueError when the encoded bytes are not whole."""
        ...


class _Zlib:
    """gzip, with several members behind each other, or deflate, with and without the header that belongs to it."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._bits = 31 if is_gzip else 15
        self._is_gzip, self._begun = is_gzip, False
        self._inner = zlib.decompressobj(self._bits)

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inner.eof:
                if not self._is_gzip:
                    raise ValueError("goes on behind its end")
                self._inner = zlib.decompressobj(self._bits)
            try:
                piece = self._inner.decompress(data, _PIECE)
            except zlib.error as error:
                if self._is_gzip or self._begun:
                    raise ValueError(str(error)) from None
                self._inner = zlib.decompressobj(-15)
                piece = self._inner.decompress(data, _PIECE) if data else b""
            self._begun = True
            data = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        if self._begun and not self._inner.eof:
            raise ValueError("ends too early")


def encodings_of(response: httpx.Response) -> list[str]:
    """Return the encodings of a body in the order in which they were applied."""
    named = ",".join(response.headers.get_list("content-encoding")).split(",")
    return [name for one in named if (name := one.strip().lower()) not in ("", "identity")]


def decoders_for(names: list[str]) -> list[Decoder]:
    """Return what undoes encodings, the last one first; raise ValueError for one that is not known, or too many."""
    if len(names) > _AT_MOST:
        raise ValueError("too many encodings")
    unknown = [name for name in names if name not in ("gzip", "x-gzip", "deflate")]
    if unknown:
        raise ValueError(f"encoding {unknown[0][:50]!r} was not asked for and is not known")
    return [_Zlib(is_gzip=name != "deflate") for name in reversed(names)]


async def decoded(response: httpx.Response, host: str) -> AsyncIterator[bytes]:
    """Yield the body without its encodings, as it comes; raise RemoteCorrupt for what cannot be decoded."""
    try:
        decoders = decoders_for(encodings_of(response))
        async for chunk in response.aiter_raw():
            for piece in _through(decoders, chunk):
                yield piece
        for decoder in decoders:
            decoder.end()
    except (ValueError, zlib.error) as error:
        raise RemoteCorrupt(f"sent a body that cannot be decoded: {error}", registry=host) from None


def _through(decoders: list[Decoder], data: bytes) -> Iterator[bytes]:
    if not decoders:
        yield data
        return
    for piece in decoders[0].decode(data):
        yield from _through(decoders[1:], piece)
