"""Signers of AWS, Azure and Google, by securesystemslib's clients of them; credentials are those of the environment."""

from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.exceptions import UnsupportedLibraryError
from securesystemslib.signer import AWSSigner, AzureSigner, GCPSigner, SSlibKey
from securesystemslib.signer import Signer as LibrarySigner

from oci.signing.deadlines import run_within
from oci.signing.keys import KeyInvalid, PublicKey, Signer, SignerFailed
from oci.signing.signers.addresses import AWS, AZURE, GOOGLE, SignerAddress
from oci.signing.signers.outside import OutsideSigner, reason_of

_PKCS1 = "rsa-pkcs1v15-sha256"
_SCHEMES = frozenset({"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", _PKCS1})
"""What cosign verifies by the public key alone."""

_EXTRAS = {AWS: "boto3", AZURE: "entrepot[azurekms]", GOOGLE: "entrepot[gcpkms]"}


def open_key_service(address: SignerAddress, *, timeout: float) -> Signer:
    """Ask a key service for a public key, and return its signer; raise KeyInvalid, SignerFailed."""

    def connect() -> tuple[LibrarySigner, SSlibKey]:
        uri, key = _CLIENTS[address.scheme](address.name)
        if key.scheme not in _SCHEMES:
            raise KeyInvalid(
                f"the key {address} signs by {key.scheme}: expected ECDSA on P-256 or P-384, or RSA by PKCS #1 v1.5 with SHA-256"
            )
        return _KINDS[address.scheme].from_priv_key_uri(uri, key), key

    try:
        signer, key = run_within(timeout, str(address), connect)
    except UnsupportedLibraryError:
        raise KeyInvalid(
            f"the signer {address} needs a library that is not installed: pip install '{_EXTRAS[address.scheme]}'"
        ) from None
    except (KeyInvalid, SignerFailed):
        raise
    except Exception as error:
        raise SignerFailed(f"the signer {address} failed: {reason_of(error)}") from error
    return OutsideSigner(
        str(address),
        _public_key(key, address),
        lambda data: bytes.fromhex(signer.sign(data).signature),
        timeout=timeout,
    )


def _public_key(key: SSlibKey, address: SignerAddress) -> PublicKey:
    found = load_pem_public_key(key.keyval["public"].encode())
    if not isinstance(found, PublicKey):
        raise KeyInvalid(f"the key {address} is of a kind that does not sign: expected ECDSA, Ed25519 or RSA")
    return found


def _import_aws(name: str) -> tuple[str, SSlibKey]:
    uri, key = AWSSigner.import_(name)
    return AWSSigner.import_(name, _PKCS1) if key.keytype == "rsa" else (uri, key)


def _import_azure(name: str) -> tuple[str, SSlibKey]:
    vault, _, key = name.partition("/")
    uri, found = AzureSigner.import_(vault, key)
    assert isinstance(found, SSlibKey)
    return uri, found


def _import_google(name: str) -> tuple[str, SSlibKey]:
    uri, found = GCPSigner.import_(name)
    assert isinstance(found, SSlibKey)
    return uri, found


_CLIENTS: dict[str, Callable[[str], tuple[str, SSlibKey]]] = {
    AWS: _import_aws,
    AZURE: _import_azure,
    GOOGLE: _import_google,
}
_KINDS: dict[str, type[LibrarySigner]] = {AWS: AWSSigner, AZURE: AzureSigner, GOOGLE: GCPSigner}
