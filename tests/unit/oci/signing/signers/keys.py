"""Keys of the tests in this folder, one of each kind, made once."""

from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from oci.signing.keys import KeySigner, PrivateKey

NAMES = ("p256", "p384", "ed25519", "rsa")


@cache
def key_of(name: str) -> PrivateKey:
    match name:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def signer_of(name: str) -> KeySigner:
    return KeySigner(key_of(name))


def pem_of(name: str) -> bytes:
    return key_of(name).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
