"""OpenPGP messages of strangers: what is unpacked of one is bounded before any library verifies it."""

import bz2
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pysequoia
import pytest

from oci.digest import Digest
from oci.signing.atomic import AtomicSignature
from oci.signing.pgp_keyring import PgpKeyring
from oci.signing.pgp_keys import PgpVerifier
from oci.signing.pgp_messages import LIMIT, SignatureInvalid, literal_of

TEXT = bytes([0x80 | 11 << 2 | 3]) + b"b\0" + bytes(4)
"""The head of a literal packet that ends where its data do."""


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + struct.pack(">I", len(body)) + body


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return packet(8, b"\1" + compressor.compress(data) + compressor.flush())


def bzipped(data: bytes) -> bytes:
    return packet(8, b"\3" + bz2.compress(data))


def wrapped(data: bytes) -> bytes:
    return packet(8, b"\2" + zlib.compress(data))


@pytest.fixture
def unpacks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the library that verifies was given."""
    given: list[bytes] = []
    verify = pysequoia.verify

    def noted(**arguments: Any) -> Any:
        given.append(arguments["bytes"])
        return verify(**arguments)

    monkeypatch.setattr(pysequoia, "verify", noted)
    return given


@pytest.mark.parametrize("pack", [deflated, bzipped, wrapped])
@pytest.mark.parametrize("where", ["text", "behind the text", "within", "too deep"])
def test_no_library_is_given_a_message_that_unpacks_to_more(
    pack: Callable[[bytes], bytes], where: str, unpacks: list[bytes]
) -> None:
    much, text = bytes(LIMIT + 1), packet(11, b"b\0" + bytes(4) + b"text")
    message = {
        "text": pack(TEXT + much),
        "behind the text": text + pack(packet(2, much)),
        "within": pack(pack(text + packet(2, much))),
        "too deep": pack(pack(pack(pack(TEXT + b"text")))),
    }[where]
    certificate = pysequoia.Tsk.generate("a <a@example.org>").extract_certificate()
    with pytest.raises(SignatureInvalid):
        PgpKeyring({certificate.fingerprint.lower(): certificate}).open(message)
    signature = AtomicSignature("", message)
    assert PgpVerifier([certificate]).reference_of(signature, Digest.of(b"manifest")) is None
    assert not unpacks


def test_the_whole_of_a_message_counts_not_each_part() -> None:
    half = deflated(packet(2, bytes(LIMIT // 2 + 1)))
    assert literal_of(packet(11, b"b\0" + bytes(4) + b"text") + half) == b"text"
    with pytest.raises(SignatureInvalid, match="unpacks to more"):
        literal_of(packet(11, b"b\0" + bytes(4) + b"text") + half + half)


def test_a_signed_message_is_opened() -> None:
    key = pysequoia.Tsk.generate("a <a@example.org>")
    certificate = key.extract_certificate()
    message = bytes(pysequoia.sign(key.signer(None), b"text", armor=False))
    for given in (message, deflated(message), wrapped(message)):
        found = PgpKeyring({certificate.fingerprint.lower(): certificate}).open(given)
        assert (found.payload, set(found.fingerprints)) == (b"text", {certificate.fingerprint.lower()})
