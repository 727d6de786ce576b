"""The signer of a request: which addresses may be named by whom, and what it is opened with.

1. ENTREPOT_SIGNING_KEY is the operator's choice: any signer.
2. A command is bound by its caller's rights alone: any signer too.
3. A flow of a worker takes its parameters from whoever may use Prefect. Key files lie below ENTREPOT_WORK_ROOTS; other signers
   are those that ENTREPOT_SIGNERS lets be named; a command, and the library of a token, are never named from afar.
"""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from catalog.settings import Settings
from catalog.work_roots import PathRefused, is_from_afar, read_allowed
from oci.signing.keys import KeyInvalid, Signer
from oci.signing.pgp_keys import AtomicSigner
from oci.signing.signers.addresses import EXEC, FILE, SignerAddress, parse_signer
from oci.signing.signers.loading import SignerMeans, open_signer


def read_signer(settings: Settings, key: str | Path | None) -> Signer:
    """Open the signer of a request, or that of the settings, for cosign's forms; raise KeyInvalid that says what to do."""
    signer = read_any_signer(settings, key)
    if isinstance(signer, AtomicSigner):
        raise KeyInvalid(
            f"{key or settings.signing_key} is an OpenPGP key, which makes Atomic signatures only: give a key in PEM"
        )
    return signer


def read_any_signer(
    settings: Settings, key: str | Path | None, *, environ: Mapping[str, str] = os.environ
) -> Signer | AtomicSigner:
    """Open the signer of a request, or that of the settings; raise KeyInvalid that says what to do, PathRefused, SignerFailed."""
    text = str(key or settings.signing_key or "")
    if not text:
        raise KeyInvalid("no key to sign with: give --key KEY, or set ENTREPOT_SIGNING_KEY")
    address = parse_signer(text)
    if key and is_from_afar(environ):
        check_named_from_afar(settings, address)

    def read_file(path: str) -> bytes:
        if key:
            return read_allowed(settings, Path(path), "key", environ=environ)
        return Path(path).expanduser().read_bytes()

    means = SignerMeans(
        settings.signing_password.get_secret_value() if settings.signing_password else None,
        environ,
        read_file,
        settings.pkcs11_module,
        settings.signer_timeout,
    )
    try:
        return open_signer(address, means)
    except OSError as error:
        raise KeyInvalid(f"the key {text} cannot be read: {error.strerror}") from None


def check_named_from_afar(settings: Settings, address: SignerAddress) -> None:
    """Raise PathRefused for a signer that parameters of a worker's flow may not name; key files are looked at when read."""
    if address.scheme == FILE:
        return
    if address.scheme == EXEC or "module-path" in address.attributes:
        raise PathRefused(
            f"the signer {address} names a program, which no flow of a worker may: set it by ENTREPOT_SIGNING_KEY "
            "or ENTREPOT_PKCS11_MODULE on the worker's machine"
        )
    if not any(fnmatchcase(address.text, pattern) for pattern in settings.signers):
        raise PathRefused(
            f"the signer {address} is not one that flows of a worker may name: "
            f"{', '.join(settings.signers) or 'none'}; add it to ENTREPOT_SIGNERS"
        )
