"""`entrepot key`: generate signing keys, and show their public halves."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.catalog import settings_of
from cli.options import Home, Json, new_group
from cli.output import print_fields, print_json, print_line, say
from oci.errors import InvalidInput

if TYPE_CHECKING:
    from catalog.settings import Settings
    from oci.signing.keys import Verifier

group = new_group("Generate signing keys, and show their public halves.")


@group.command("generate")
def generate_key_pair(
    *,
    kind: Annotated[
        Literal["ecdsa", "ed25519", "rsa"], typer.Option("--type", help="Algorithm; cosign's own is ecdsa.")
    ] = "ecdsa",
    output: Annotated[
        Path, typer.Option(metavar="PREFIX", help="Write PREFIX.key and PREFIX.pub; neither is overwritten.")
    ] = Path("entrepot"),
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Generate an encrypted key pair in cosign's files.

    The password is ENTREPOT_SIGNING_PASSWORD or COSIGN_PASSWORD; on a terminal the command asks for it.

    Example: entrepot key generate --output release
    """
    from oci.signing.key_files import generate_key, write_key_pair

    password = _new_password(settings_of(home))
    signer = generate_key(kind)
    private, public = write_key_pair(signer, password, output.expanduser().absolute())
    fields = {"private": str(private), "public": str(public), "fingerprint": signer.verifier.fingerprint}
    if as_json:
        print_json(fields)
        return
    print_fields(fields)
    say("keep the private key and its password: neither can be recovered")


def _new_password(settings: "Settings") -> str:
    """Return the password of a new key; raise InvalidInput where there is none."""
    if settings.signing_password is not None:
        found = settings.signing_password.get_secret_value()
    elif "COSIGN_PASSWORD" in os.environ:
        found = os.environ["COSIGN_PASSWORD"]
    elif sys.stdin.isatty():
        found = typer.prompt("Password of the key", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise InvalidInput("no password for the key: set ENTREPOT_SIGNING_PASSWORD, or run this on a terminal")
    if not found:
        raise InvalidInput("the password of the key is empty: expected at least one character")
    return str(found)


@group.command("show")
def show_key(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="Key file, private or public, or the URI of a signer: awskms:///…, pkcs11:…."
        ),
    ],
    *,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show a key's public half and its fingerprint.

    A private key is opened as for signing. The key of a token or a key service stays there.

    Example: entrepot key show release.key
    """
    public, fingerprint, kind = _public_half(settings_of(home), key)
    if as_json:
        print_json({"type": kind, "fingerprint": fingerprint, "public": public})
        return
    print_fields({"type": kind, "fingerprint": fingerprint})
    print_line(public.rstrip())


def _public_half(settings: "Settings", key: str) -> tuple[str, str, str]:
    """Return a public key as text, its fingerprint, and its kind; raise KeyInvalid, SignerFailed."""
    from flows.sign.signers import read_any_signer
    from oci.signing.keys import Signer, load_verifier
    from oci.signing.pgp_keys import is_pgp, load_pgp_verifier

    public = _public_file(key)
    if public is not None and is_pgp(public):
        found = load_pgp_verifier(public, where=key)
        return found.armored, found.fingerprint, "OpenPGP"
    if public is not None:
        return _shown(load_verifier(public, where=key))
    signer = read_any_signer(settings, key)
    if isinstance(signer, Signer):
        return _shown(signer.verifier)
    return signer.verifier.armored, signer.verifier.fingerprint, "OpenPGP"


def _public_file(key: str) -> bytes | None:
    """Return the content of a file that holds a public key; None for anything else."""
    from oci.signing.signers.addresses import FILE, parse_signer

    address = parse_signer(key)
    if address.scheme != FILE:
        return None
    try:
        data = Path(address.name).expanduser().read_bytes()
    except OSError as error:
        raise InvalidInput(f"the key {key} cannot be read: {error.strerror}") from None
    begins = data.lstrip()
    is_public = begins.startswith((b"-----BEGIN PUBLIC KEY", b"-----BEGIN PGP PUBLIC")) or data[:1] in (
        b"\x98",
        b"\x99",
        b"\xc6",
    )
    return data if is_public else None


def _shown(verifier: "Verifier") -> tuple[str, str, str]:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    key = verifier.key
    kind = f"ECDSA {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else "Ed25519"
    kind = f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else kind
    return verifier.pem.decode(), verifier.fingerprint, kind
