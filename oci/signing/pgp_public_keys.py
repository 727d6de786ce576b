"""Public keys of OpenPGP packets, named as the same key in PEM is named. Source: RFC 9580, 5.5.2 and 5.5.5; 9.2 (curves)."""

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from oci.signing.keys import PublicKey, Verifier

_RSA, _ECDSA, _EDDSA, _ED25519 = (1, 2, 3), 19, 22, 27
_LEGACY_ED25519 = bytes.fromhex("2b06010401da470f01")
_CURVES: dict[bytes, type[ec.EllipticCurve]] = {
    bytes.fromhex("2a8648ce3d030107"): ec.SECP256R1,
    bytes.fromhex("2b81040022"): ec.SECP384R1,
    bytes.fromhex("2b81040023"): ec.SECP521R1,
    bytes.fromhex("2b8104000a"): ec.SECP256K1,
}


def name_public_key(body: bytes) -> str:
    """Return the fingerprint of the key in the body of a public key packet: `Verifier.fingerprint` of the same key in PEM.

    A key of a kind that is not read from PEM has a name of its own, which depends on its public values alone.
    """
    start = 10 if body[0] == 6 else 6  # a key of version 6 states the length of its values
    algorithm, values = body[5], body[start:]
    try:
        return Verifier(_read(algorithm, values)).fingerprint
    except (ValueError, UnsupportedAlgorithm):
        return f"openpgp {algorithm} {hashlib.sha256(values).hexdigest()}"


def _read(algorithm: int, values: bytes) -> PublicKey:
    """Return the key; raise ValueError, UnsupportedAlgorithm."""
    if algorithm in _RSA:
        modulus, rest = _number(values)
        return rsa.RSAPublicNumbers(int.from_bytes(_number(rest)[0]), int.from_bytes(modulus)).public_key()
    if algorithm == _ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(values)
    if algorithm in (_ECDSA, _EDDSA):
        size = 1 + values[0]
        curve, point = values[1:size], _number(values[size:])[0]
        if algorithm == _EDDSA and curve == _LEGACY_ED25519 and point[:1] == b"\x40":
            return ed25519.Ed25519PublicKey.from_public_bytes(point[1:])
        if algorithm == _ECDSA and curve in _CURVES:
            return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve](), point)
    raise ValueError("another kind of key")


def _number(values: bytes) -> tuple[bytes, bytes]:
    """Return a number, and what is behind it. Source: RFC 9580, 3.2."""
    end = 2 + (int.from_bytes(values[:2]) + 7) // 8
    if end > len(values):
        raise ValueError("the number is cut off")
    return values[2:end], values[end:]
