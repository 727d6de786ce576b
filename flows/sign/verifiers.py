"""How signatures are checked: by a public key, PEM or OpenPGP, or by an identity that has signed keyless."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from catalog.catalog import Catalog
from catalog.settings import Settings
from catalog.signing.verification import Checked, check_atomic, check_keyless, check_signatures
from catalog.versions.snapshot import Snapshot
from catalog.work_roots import read_allowed
from flows.sign.request import read_trust
from oci.digest import Digest
from oci.signing.keys import KeyInvalid, load_verifier
from oci.signing.pgp_keys import is_pgp, load_pgp_verifier

Check = Callable[[Catalog, Snapshot, Digest], Checked]


def check_by_key(settings: Settings, key: Path) -> Check:
    """Check by a public key in a file; raise KeyInvalid, PathRefused."""
    try:
        data = read_allowed(settings, key, "key")
    except OSError as error:
        raise KeyInvalid(f"the key {key} cannot be read: {error.strerror}") from None
    if is_pgp(data):
        return partial(check_atomic, verifier=load_pgp_verifier(data, where=str(key)))
    return partial(check_signatures, verifier=load_verifier(data, where=str(key)))


def check_by_identity(settings: Settings, identity: str, issuer: str, trust_config: Path | None) -> Check:
    """Check by who has signed keyless, and whom that is known from; raise KeyInvalid, RemoteError."""
    from oci.signing.keyless import KeylessVerifier, Who  # a second to import

    return partial(check_keyless, verifier=KeylessVerifier(read_trust(settings, trust_config), Who(identity, issuer)))
