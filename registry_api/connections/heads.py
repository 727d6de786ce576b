"""Heads of responses as bytes: header names as their specifications spell them, since some clients require that spelling.

uvicorn writes all names in lower case; those of HTTP itself stay so, which every client accepts.
Source: distribution-spec 1.1; containers/image, docs/signature-protocols.md.
"""

import re
from functools import lru_cache
from typing import NamedTuple

_AS_WRITTEN = (
    "Docker-Content-Digest",
    "Docker-Distribution-API-Version",
    "Docker-Upload-UUID",
    "OCI-Chunk-Min-Length",
    "OCI-Filters-Applied",
    "OCI-Namespace",
    "OCI-Subject",
    "OCI-Tag",
    "WWW-Authenticate",
    "X-Registry-Supports-Signatures",
)
_NAMES = tuple((f"\r\n{name.lower()}:".encode(), f"\r\n{name}:".encode()) for name in _AS_WRITTEN)


def spelled(head: bytes) -> bytes:
    """Return the head of a response with its names spelled as specified; no value contains a line break."""
    for sent, written in _NAMES:
        head = head.replace(sent, written)
    return head


_NAME = re.compile(rb"[a-z0-9-]+")
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ABOUT_THE_CONNECTION = (b"connection", b"transfer-encoding")
_ENCODED_AT_MOST = 8192


class EncodedHeaders(NamedTuple):
    """Headers as bytes, each with its line break; the length of the body that they announce, None where they do not."""

    lines: bytes
    length: int | None


@lru_cache(maxsize=_ENCODED_AT_MOST)
def encode_headers(headers: tuple[tuple[bytes, bytes], ...]) -> EncodedHeaders | None:
    """Return headers as bytes, spelled as specified; cached, since most responses have been sent before.

    None for headers about the connection, and for malformed ones: uvicorn knows what to do with both.
    """
    lengths: list[int] = []
    for name, value in headers:
        if name in _ABOUT_THE_CONNECTION or not _NAME.fullmatch(name) or _NOT_IN_VALUE.search(value):
            return None
        if name == b"content-length":
            lengths.append(int(value))
    lines = spelled(b"\r\n" + b"".join([b"%s: %s\r\n" % pair for pair in headers]))[2:]
    return EncodedHeaders(lines, lengths[0] if lengths else None)
