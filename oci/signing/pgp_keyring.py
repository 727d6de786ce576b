"""OpenPGP certificates by fingerprint, and which of them has made a signed message. Source: RFC 9580; RFC 4880."""

from dataclasses import dataclass
from functools import lru_cache

import pysequoia

from oci.signing.keys import KeyInvalid
from oci.signing.pgp_messages import LIMIT, SignatureInvalid, literal_of
from oci.signing.pgp_public_keys import name_public_key


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """The text of a signed message, and the fingerprints of the certificates that have signed it."""

    payload: bytes
    fingerprints: frozenset[str]


class PgpKeyring:
    """Some certificates; usable from any thread."""

    def __init__(self, certificates: "dict[str, pysequoia.Cert]") -> None:
        self._certificates = certificates
        self.fingerprints = frozenset(certificates)

    def open(self, message: bytes) -> VerifiedMessage:
        """Return what a message says and who has signed it; raise SignatureInvalid, which says why nobody of these has."""
        if len(message) > LIMIT:
            raise SignatureInvalid(f"the message has {len(message)} bytes; {LIMIT} are read at most")
        literal_of(message)  # the library would unpack any amount of it
        try:
            found = pysequoia.verify(bytes=message, store=lambda _ids: list(self._certificates.values()))
        except Exception as error:  # noqa: BLE001  # the library has no class of its own for what it cannot verify
            raise SignatureInvalid(f"no valid signature by these keys: {_first_line(error)}") from None
        signers = frozenset(str(one.certificate).lower() for one in found.valid_sigs)
        return VerifiedMessage(found.bytes or b"", signers & self.fingerprints)

    def armored(self, fingerprint: str) -> str:
        """Return one certificate as text."""
        return str(self._certificates[fingerprint])

    def binary(self, fingerprint: str) -> bytes:
        """Return one certificate as OpenPGP packets."""
        return bytes(self._certificates[fingerprint])

    def public_keys(self, fingerprint: str) -> frozenset[str]:
        """Return the names of one certificate's keys, its own and those below it: those of the same keys in PEM."""
        packets = pysequoia.packet.PacketPile.from_bytes(self.binary(fingerprint))
        return frozenset(name_public_key(one.body) for one in packets if one.key_algorithm is not None)


@lru_cache(maxsize=64)
def load_pgp_keyring(key: bytes, *, where: str) -> PgpKeyring:
    """Read public keys, armored or binary, one block or several; raise KeyInvalid."""
    if b"-----BEGIN PGP PRIVATE KEY" in key:
        raise KeyInvalid(f"{where} holds a secret OpenPGP key; give the public one")
    try:
        found = {one.fingerprint.lower(): one for block in _blocks(key) for one in pysequoia.Cert.split_bytes(block)}
    except Exception as error:
        raise KeyInvalid(f"{where} holds no OpenPGP public key") from error
    if not found:
        raise KeyInvalid(f"{where} holds no OpenPGP public key")
    return PgpKeyring(found)


def _blocks(key: bytes) -> list[bytes]:
    """Return the armored blocks of a text; binary keys are one."""
    mark = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
    if mark not in key:
        return [key]
    return [mark + rest for rest in key.split(mark)[1:]]


def _first_line(error: Exception) -> str:
    """Return what the library says, without the stack that it may add."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
