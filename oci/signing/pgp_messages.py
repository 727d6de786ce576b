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
    """Return the data of the first literal packet, also out of compressed ones; raise SignatureInvalid."""
    try:
        found = _find_literal(message, _DEPTH)
    except (IndexError, ValueError, zlib.error, OSError, EOFError) as error:
        raise SignatureInvalid(f"the signature is no OpenPGP message: {type(error).__name__}") from None
    if found is None:
        raise SignatureInvalid("the signature is no OpenPGP signed message: it holds no text")
    return found


def _find_literal(data: bytes, depth: int) -> bytes | None:
    position = 0
    while position < len(data):
        tag, start, end = _packet(data, position)
        body = data[start:end]
        if tag == _LITERAL:
            return body[2 + body[1] + 4 :]  # format, file name, date
        if tag == _COMPRESSED and depth:
            return _find_literal(_unpack(body), depth - 1)
        position = end
    return None


def _packet(data: bytes, position: int) -> tuple[int, int, int]:
    """Tag, and where the body begins and ends."""
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


def _unpack(body: bytes) -> bytes:
    """Decompress, up to LIMIT."""
    method, data = body[0], body[1:]
    if method == 0:
        return data
    if method == 3:
        return bz2.BZ2Decompressor().decompress(data, LIMIT)
    if method not in (1, 2):
        raise ValueError("unknown compression")
    return zlib.decompressobj(-15 if method == 1 else 15).decompress(data, LIMIT)
