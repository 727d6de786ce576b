"""Opens the signer that an address names. Reading a key file is the caller's, who knows which paths may be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oci.signing.keys import KeyInvalid, Signer, load_signer
from oci.signing.pgp_keys import AtomicSigner, is_pgp, load_pgp_signer
from oci.signing.signers.addresses import (
    AWS,
    AZURE,
    ENV,
    EXEC,
    FILE,
    GNUPG,
    GOOGLE,
    PKCS11,
    VAULT,
    SignerAddress,
)


@dataclass(frozen=True, slots=True)
class SignerMeans:
    """What signers are opened with: never part of an address, a log or an error.

    `password` opens keys and tokens; `read_file` reads a path that an address names and raises OSError; `timeout` is in seconds.
    """

    password: str | None = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    read_file: Callable[[str], bytes]
    pkcs11_module: Path | None = None
    timeout: float = 30.0


def open_signer(address: SignerAddress, means: SignerMeans) -> Signer | AtomicSigner:
    """Return the signer of an address; raise KeyInvalid, SignerFailed, OSError for a key file that cannot be read."""
    return _OPENERS[address.scheme](address, means)


def _open_file(address: SignerAddress, means: SignerMeans) -> Signer | AtomicSigner:
    return _load(means.read_file(address.name), address, means)


def _open_variable(address: SignerAddress, means: SignerMeans) -> Signer | AtomicSigner:
    found = means.environ.get(address.name)
    if not found:
        raise KeyInvalid(f"the signer {address} names a variable that is not set in the worker's environment")
    return _load(found.encode(), address, means)


def _load(key: bytes, address: SignerAddress, means: SignerMeans) -> Signer | AtomicSigner:
    if is_pgp(key):
        return load_pgp_signer(key, means.password, where=str(address))
    return load_signer(key, means.password or means.environ.get("COSIGN_PASSWORD"), where=str(address))


def _open_token(address: SignerAddress, means: SignerMeans) -> Signer:
    from oci.signing.signers.pkcs11_token import TokenAccess, open_token

    module = (
        address.attributes.get("module-path") or means.pkcs11_module or means.environ.get("COSIGN_PKCS11_MODULE_PATH")
    )
    if not module:
        raise KeyInvalid(f"the signer {address} needs the library of its token: set ENTREPOT_PKCS11_MODULE")
    return open_token(address, TokenAccess(Path(module), _pin(address, means)), timeout=means.timeout)


def _pin(address: SignerAddress, means: SignerMeans) -> str | None:
    source = address.attributes.get("pin-source")
    if source is None:
        return means.password or means.environ.get("COSIGN_PKCS11_PIN")
    if source.startswith("|"):
        raise KeyInvalid("invalid signer: pin-source names a file, and no command")
    try:
        return means.read_file(source.removeprefix("file:").removeprefix("//")).decode().strip()
    except UnicodeDecodeError:
        raise KeyInvalid(f"the PIN of the signer {address} is no text") from None


def _open_key_service(address: SignerAddress, means: SignerMeans) -> Signer:
    from oci.signing.signers.key_services import open_key_service

    return open_key_service(address, timeout=means.timeout)


def _open_vault(address: SignerAddress, means: SignerMeans) -> Signer:
    from oci.signing.signers.vault import open_vault

    return open_vault(address, means.environ, timeout=means.timeout)


def _open_command(address: SignerAddress, means: SignerMeans) -> Signer:
    from oci.signing.signers.commands import open_command

    return open_command(address, means.environ, timeout=means.timeout)


def _open_gnupg(address: SignerAddress, means: SignerMeans) -> AtomicSigner:
    from oci.signing.signers.gnupg import GnupgSigner

    return GnupgSigner(address, means.password, means.environ, timeout=means.timeout)


_OPENERS: Mapping[str, Callable[[SignerAddress, SignerMeans], Signer | AtomicSigner]] = {
    FILE: _open_file,
    ENV: _open_variable,
    PKCS11: _open_token,
    AWS: _open_key_service,
    AZURE: _open_key_service,
    GOOGLE: _open_key_service,
    VAULT: _open_vault,
    GNUPG: _open_gnupg,
    EXEC: _open_command,
}
