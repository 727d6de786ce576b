"""New signing keys, in the files that cosign writes: an encrypted private key, and its public half beside it.

Source: secure-systems-lab's encrypted form, as cosign's generate-key-pair has it.
"""

import base64
import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.secret import SecretBox

from oci.errors import InvalidInput
from oci.signing.keys import KeySigner

KeyType = Literal["ecdsa", "ed25519", "rsa"]
_COST, _BLOCK, _PARALLEL = 65536, 8, 1
"""cosign takes these parameters of scrypt, and few others."""
_LABEL = "ENCRYPTED SIGSTORE PRIVATE KEY"


def generate_key(kind: KeyType) -> KeySigner:
    """Make a key: ECDSA on P-256, Ed25519, or RSA with 3072 bits."""
    match kind:
        case "ecdsa":
            return KeySigner(ec.generate_private_key(ec.SECP256R1()))
        case "ed25519":
            return KeySigner(ed25519.Ed25519PrivateKey.generate())
        case "rsa":
            return KeySigner(rsa.generate_private_key(65537, 3072))


def encrypt_key(signer: KeySigner, password: str, *, salt: bytes, nonce: bytes) -> bytes:
    """Return a private key as cosign encrypts it, in PEM; `salt` of 32 bytes and `nonce` of 24 are random, and used once."""
    plain = signer.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    derived = Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_PARALLEL).derive(password.encode())
    sealed = SecretBox(derived).encrypt(plain, nonce).ciphertext
    document = {
        "kdf": {"name": "scrypt", "params": {"N": _COST, "r": _BLOCK, "p": _PARALLEL}, "salt": _text(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _text(nonce)},
        "ciphertext": _text(sealed),
    }
    body = _text(json.dumps(document, separators=(",", ":")).encode())
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {_LABEL}-----", *lines, f"-----END {_LABEL}-----", ""]).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_key_pair(signer: KeySigner, password: str, prefix: Path) -> tuple[Path, Path]:
    """Write `PREFIX.key`, readable by its owner alone, and `PREFIX.pub`; raise InvalidInput rather than overwrite a file."""
    private, public = prefix.with_name(f"{prefix.name}.key"), prefix.with_name(f"{prefix.name}.pub")
    sealed = encrypt_key(signer, password, salt=secrets.token_bytes(32), nonce=secrets.token_bytes(24))
    _write_new(private, sealed, 0o600)
    try:
        _write_new(public, signer.verifier.pem, 0o644)
    except BaseException:
        private.unlink()
        raise
    return private, public


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise InvalidInput(f"the file {path} exists, and keys are never overwritten; name others by --output") from None
    except OSError as error:
        raise InvalidInput(f"the file {path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
