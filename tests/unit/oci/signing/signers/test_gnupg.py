"""gpg as a signer: what it is given, and what of it is believed. The real one signs in tests/flows/test_sign_atomic.py."""

from pathlib import Path

import pysequoia
import pytest

from oci.digest import Digest
from oci.signing.keys import KeyInvalid, SignerFailed
from oci.signing.pgp_keys import PgpSigner
from oci.signing.signers.addresses import parse_signer
from oci.signing.signers.gnupg import GnupgSigner

DIGEST = Digest.of(b"image")
KEY, OTHER = (pysequoia.Tsk.generate(user_id=f"{name}@example.org") for name in ("signer", "other"))


def gnupg(folder: Path, script: str, password: str | None = None) -> GnupgSigner:
    """The signer, with a gpg that exports KEY's certificate and then does as the script says."""
    (folder / "public").write_bytes(bytes(KEY.extract_certificate()))
    gpg = folder / "gpg"
    gpg.write_text(f'#!/bin/sh\ncase " $* " in *" --export "*) exec cat {folder}/public;; esac\n{script}\n')
    gpg.chmod(0o755)
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "ENTREPOT_SIGNING_PASSWORD": "hush"}
    return GnupgSigner(parse_signer(f"gnupg:{KEY.extract_certificate().fingerprint}"), password, environ, timeout=10)


def vouch(signer: GnupgSigner) -> None:
    signer.sign(DIGEST, "team/app:v1", name="0" * 32, timestamp=1)


def test_a_signature_by_another_key_is_refused(tmp_path: Path) -> None:
    other = PgpSigner(OTHER, None, where="the test").sign(DIGEST, "team/app:v1", name="0" * 32, timestamp=1)
    own = PgpSigner(KEY, None, where="the test").sign(DIGEST, "team/app:v1", name="0" * 32, timestamp=1)
    (tmp_path / "made").write_bytes(other.content)
    with pytest.raises(SignerFailed, match="does not verify"):
        vouch(gnupg(tmp_path, f"exec cat {tmp_path}/made"))
    (tmp_path / "made").write_bytes(own.content)
    vouch(gnupg(tmp_path, f"exec cat {tmp_path}/made"))


def test_the_password_comes_by_a_descriptor_and_nowhere_else(tmp_path: Path) -> None:
    script = f"""echo "$*" >> {tmp_path}/said; env >> {tmp_path}/said
while [ "$1" != --passphrase-fd ]; do shift; done
cat /dev/fd/$2 > {tmp_path}/password; echo no card >&2; exit 2"""
    signer = gnupg(tmp_path, script, "hush")
    for _ in range(2):  # the second time gpg is not asked
        with pytest.raises(SignerFailed, match="ended with 2: no card"):
            vouch(signer)
    assert (tmp_path / "password").read_text() == "hush\n"
    said = (tmp_path / "said").read_text()
    assert (said.count("--passphrase-fd"), said.count("hush")) == (1, 0)


def test_a_machine_without_gpg_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid, match="needs gpg, which is not installed"):
        GnupgSigner(parse_signer(f"gnupg:{'A' * 40}"), None, {"PATH": str(tmp_path)}, timeout=10)
