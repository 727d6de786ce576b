"""Keys that sign and verify: PEM files, cosign's encrypted ones included.

Source: RFC 7468; cosign, KEY_MANAGEMENT and the secure-systems-lab encrypted form (scrypt, NaCl secretbox).
"""

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from oci.errors import InvalidInput, RemoteError

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_ENCRYPTED = (b"ENCRYPTED SIGSTORE PRIVATE KEY", b"ENCRYPTED COSIGN PRIVATE KEY")
_MOST_SCRYPT = 2**20
"""Above this cost a key file would have us fill the memory."""


class KeyInvalid(InvalidInput):
    """A key that cannot be read or used; the message never holds it."""


class SignerFailed(RemoteError):
    """A signer outside of this process refused, or gave no answer in time; the message holds no secret."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies with a public key."""

    key: PublicKey

    @property
    def pem(self) -> bytes:
        """Return the key as cosign writes it: SubjectPublicKeyInfo in PEM."""
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """Return Base64 of the SHA-256 of the key's DER, which sigstore calls a hint."""
        return base64.b64encode(hashlib.sha256(_der(self.key)).digest()).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Return whether the signature over `data` is by this key."""
        try:
            if isinstance(self.key, ec.EllipticCurvePublicKey):
                self.key.verify(signature, data, ec.ECDSA(curve_hash(self.key.curve)))
            elif isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Signer(ABC):
    """Signs bytes as cosign does: ECDSA in DER, Ed25519, or RSA by PKCS #1 v1.5."""

    __slots__ = ()

    @property
    @abstractmethod
    def verifier(self) -> Verifier:
        """Return the public half."""

    @abstractmethod
    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`; raise KeyInvalid, SignerFailed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.verifier.fingerprint})"


@dataclass(frozen=True, slots=True, repr=False)
class KeySigner(Signer):
    """Signs with a private key in memory, as cosign does with a key of the same kind."""

    key: PrivateKey

    @property
    def verifier(self) -> Verifier:
        """Return the public half."""
        return Verifier(self.key.public_key())

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(curve_hash(self.key.curve)))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(data)


def curve_hash(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    """Return the hash that is signed with a key on a curve."""
    return {384: hashes.SHA384(), 521: hashes.SHA512()}.get(curve.key_size, hashes.SHA256())


def _der(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_signer(pem: bytes, password: str | None, *, where: str) -> KeySigner:
    """Read a private key; raise KeyInvalid, naming `where` it came from, for a wrong password or what is no key."""
    secret = password.encode() if password else None
    try:
        if any(b"BEGIN " + label in pem for label in _ENCRYPTED):
            key = serialization.load_der_private_key(_decrypt(pem, secret or b"", where), None)
        else:
            key = serialization.load_pem_private_key(pem, secret)
    except TypeError:
        what = (
            "is encrypted: set ENTREPOT_SIGNING_PASSWORD"
            if secret is None
            else "is not encrypted, but a password is set: unset ENTREPOT_SIGNING_PASSWORD and COSIGN_PASSWORD"
        )
        raise KeyInvalid(f"the key {where} {what}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyInvalid(
            f"{where} is no private key in PEM, or its password (ENTREPOT_SIGNING_PASSWORD) is wrong"
        ) from None
    if not isinstance(key, PrivateKey):
        raise KeyInvalid(f"the key {where} is of a kind that does not sign: expected ECDSA, Ed25519 or RSA")
    return KeySigner(key)


def load_verifier(pem: bytes, *, where: str) -> Verifier:
    """Read a public key; raise KeyInvalid, naming `where` it came from."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyInvalid(f"{where} is no public key in PEM") from None
    if not isinstance(key, PublicKey):
        raise KeyInvalid(f"the key {where} is of a kind that does not verify: expected ECDSA, Ed25519 or RSA")
    return Verifier(key)


def _decrypt(pem: bytes, password: bytes, where: str) -> bytes:
    """Open a key file of cosign's."""
    from nacl.exceptions import CryptoError  # whoever only verifies does without it
    from nacl.secret import SecretBox

    body = b"".join(line for line in pem.splitlines() if line and not line.startswith(b"-----"))
    try:
        document: dict[str, Any] = json.loads(base64.b64decode(body))
        parameters = document["kdf"]["params"]
        cost, block, parallel = (int(parameters[name]) for name in ("N", "r", "p"))
        salt = base64.b64decode(document["kdf"]["salt"])
        nonce = base64.b64decode(document["cipher"]["nonce"])
        sealed = base64.b64decode(document["ciphertext"])
        if document["kdf"]["name"] != "scrypt" or document["cipher"]["name"] != "nacl/secretbox":
            raise KeyInvalid(f"the key {where} is encrypted by a method that is not known")
        if cost > _MOST_SCRYPT or block > 32 or parallel > 16:
            raise KeyInvalid(f"the key {where} has scrypt parameters that exceed the allowed cost")
        derived = Scrypt(salt=salt, length=32, n=cost, r=block, p=parallel).derive(password)
        return SecretBox(derived).decrypt(sealed, nonce)
    except CryptoError:
        raise KeyInvalid(
            f"the password of the key {where} is wrong or not set (ENTREPOT_SIGNING_PASSWORD or COSIGN_PASSWORD)"
        ) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise KeyInvalid(f"the key {where} is damaged: {type(error).__name__}") from None
