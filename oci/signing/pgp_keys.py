"""OpenPGP keys that make and check Atomic signatures. Source: RFC 4880; containers/image, docs/atomic-signature.md."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pysequoia

from oci.digest import Digest
from oci.signing.atomic import AtomicSignature, about
from oci.signing.keys import KeyInvalid
from oci.signing.pgp_messages import SignatureInvalid, literal_of

_BEGIN = b"-----BEGIN PGP "
_CREATOR = "entrepot"


def is_pgp(key: bytes) -> bool:
    """Return whether a key file is OpenPGP's, armored or binary, and not PEM."""
    return key.lstrip().startswith(_BEGIN) or bool(key[:1] and key[0] & 0x80)


class PgpVerifier:
    """Checks signatures by the certificates of one file; `fingerprint` is the first one's."""

    def __init__(self, certificates: Sequence[pysequoia.Cert]) -> None:
        self._certificates = list(certificates)
        self.fingerprint = self._certificates[0].fingerprint

    @property
    def armored(self) -> str:
        """Return the certificates as armored text, one after another."""
        return "\n".join(str(one) for one in self._certificates)

    def reference_of(self, signature: AtomicSignature, digest: Digest) -> str | None:
        """Return the reference that a signature vouches for; None when it is not by these keys, or not about the digest."""
        try:
            literal_of(signature.content)  # the library would unpack any amount of it
            found = pysequoia.verify(bytes=signature.content, store=lambda _ids: self._certificates)
        except Exception:  # noqa: BLE001  # the library has no class of its own for what it cannot verify
            return None
        try:
            return about(found.bytes or b"", digest)
        except SignatureInvalid:
            return None


class AtomicSigner(ABC):
    """Makes Atomic signatures with one OpenPGP key; `verifier` has its certificate."""

    verifier: PgpVerifier

    @abstractmethod
    def seal(self, payload: bytes) -> bytes:
        """Return an OpenPGP signed message that holds the payload, binary; raise KeyInvalid, SignerFailed."""

    def sign(self, digest: Digest, reference: str, *, name: str, timestamp: int) -> AtomicSignature:
        """Sign that `reference` is the manifest of that digest; `timestamp` in Unix seconds."""
        document = {
            "critical": {
                "identity": {"docker-reference": reference},
                "image": {"docker-manifest-digest": digest},
                "type": "atomic container signature",
            },
            "optional": {"creator": _CREATOR, "timestamp": timestamp},
        }
        return AtomicSignature(f"{digest}@{name}", self.seal(json.dumps(document).encode()))


class PgpSigner(AtomicSigner):
    """Signs with one secret key in memory."""

    def __init__(self, key: pysequoia.Tsk, password: str | None, *, where: str) -> None:
        try:
            self._signer = key.signer(password)
        except Exception as error:  # as above
            raise KeyInvalid(
                f"the OpenPGP key {where} cannot sign: it has no valid signing key, or its password is missing or wrong "
                f"(ENTREPOT_SIGNING_PASSWORD)"
            ) from error
        self.verifier = PgpVerifier([key.extract_certificate()])

    def seal(self, payload: bytes) -> bytes:
        """Return a signed message."""
        return bytes(pysequoia.sign(self._signer, payload, armor=False))


def load_pgp_signer(key: bytes, password: str | None, *, where: str) -> PgpSigner:
    """Read a secret key, armored or binary; raise KeyInvalid."""
    if key.lstrip().startswith(_BEGIN + b"PUBLIC"):
        raise KeyInvalid(f"{where} holds no OpenPGP secret key, but a public one")
    try:
        loaded = pysequoia.Tsk.from_bytes(key)
    except Exception as error:
        raise KeyInvalid(f"{where} holds no OpenPGP secret key") from error
    return PgpSigner(loaded, password, where=where)


def load_pgp_verifier(key: bytes, *, where: str) -> PgpVerifier:
    """Read public keys, armored or binary; raise KeyInvalid."""
    try:
        certificates = pysequoia.Cert.split_bytes(key)
    except Exception as error:
        raise KeyInvalid(f"{where} holds no OpenPGP public key") from error
    if not certificates:
        raise KeyInvalid(f"{where} holds no OpenPGP public key")
    return PgpVerifier(certificates)
