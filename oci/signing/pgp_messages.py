"""The payload inside an OpenPGP signed message, without judging the signature. Source: RFC 4880 sections 4, 5.6, 5.9."""

import bz2
import zlib

from oci.errors import InvalidInput

LIMIT = 4 * 1024 * 1024
"""Bytes of a message, and of what it unpacks to."""

_COMPRESSED, _LITERAL = 8, 11
_DEPTH = 3


class SignatureInvalid(InvalidInput):
    """A signature that is no OpenPGP message, or not about the manifest it was sent for."""

    code = "SIGNATURE_INVALID"


def literal_of(message: bytes) -> bytes:
    """Return the data of the first literal packet, also out of compressed ones; raise SignatureInvalid.

    All packets are read: a message that unpacks to more than LIMIT bytes is refused, whatever its text. A verifier unpacks all of
    it before it checks any signature.
    """
    try:
        found, _ = _find_literal(message, _DEPTH, LIMIT)
    except (IndexError, ValueError, zlib.error, OSError, EOFError) as error:
        what = str(error) if isinstance(error, _TooLarge) else type(error).__name__
        raise SignatureInvalid(f"the signature is no OpenPGP message: {what}") from None
    if found is None:
        raise SignatureInvalid("the signature is no OpenPGP signed message: it holds no text")
    return found


class _TooLarge(ValueError):
    """A message that unpacks to more than is read."""


def _find_literal(data: bytes, depth: int, left: int) -> tuple[bytes | None, int]:
    """Return the first text, and how many bytes more may be unpacked."""
    position = 0
    found: bytes | None = None
    while position < len(data):
        tag, start, end = _packet(data, position)
        body = data[start:end]
        inner: bytes | None = None
        if tag == _LITERAL:
            inner = body[2 + body[1] + 4 :]  # format, file name, date
        elif tag == _COMPRESSED:
            if not depth:
                raise _TooLarge(f"it is compressed more than {_DEPTH} times")
            unpacked = _unpack(body, left)
            inner, left = _find_literal(unpacked, depth - 1, left - len(unpacked))
        found = inner if found is None else found
        position = end
    return found, left


def _packet(data: bytes, position: int) -> tuple[int, int, int]:
    """Return the tag of a packet, and where its body begins and ends."""
    first = data[position]
    if not first & 0x80:
        raise ValueError("no packet")
    position += 1
    if first & 0x40:  # new format
        tag, length = first & 0x3F, data[position]
        if length < 192:
            position += 1
        elif length < 224:
            length = ((length - 192) << 8) + data[position + 1] + 192
            position += 2
        elif length == 255:
            length, position = int.from_bytes(data[position + 1 : position + 5]), position + 5
        else:
            raise ValueError("partial lengths")
    else:
        tag, kind = (first >> 2) & 0x0F, first & 3
        if kind == 3:  # up to the end
            return tag, position, len(data)
        size = 1 << kind
        length, position = int.from_bytes(data[position : position + size]), position + size
    if position + length > len(data):
        raise ValueError("truncated")
    return tag, position, position + length


def _unpack(body: bytes, limit: int) -> bytes:
    """Decompress up to `limit` bytes; raise _TooLarge for more, ValueError for what is cut off or followed by something."""
    method, data = body[0], body[1:]
    if method == 0:
        unpacked = data
    elif method == 3:
        bzip2 = bz2.BZ2Decompressor()
        unpacked = bzip2.decompress(data, limit + 1)
        _check_end(len(unpacked) > limit, bzip2.eof, bzip2.unused_data)
    elif method in (1, 2):
        deflate = zlib.decompressobj(-15 if method == 1 else 15)
        unpacked = deflate.decompress(data, limit + 1)
        _check_end(len(unpacked) > limit, deflate.eof, deflate.unused_data)
    else:
        raise ValueError("unknown compression")
    if len(unpacked) > limit:
        raise _TooLarge(f"it unpacks to more than {LIMIT} bytes")
    return unpacked


def _check_end(is_too_large: bool, is_at_end: bool, rest: bytes) -> None:
    if not is_too_large and (not is_at_end or rest):
        raise ValueError("its compressed data have no end, or something behind it")
