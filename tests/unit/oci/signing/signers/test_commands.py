"""A signing command of the operator's: what it is given, and how far it is trusted."""

import os
import time
from pathlib import Path

import pytest

from oci.signing.keys import KeyInvalid, SignerFailed
from oci.signing.signers.addresses import parse_signer
from oci.signing.signers.commands import open_command, run_bounded
from tests.unit.oci.signing.signers.keys import pem_of, signer_of

SIGNS = 'case "$1" in public-key) cat {public};; sign) exec openssl dgst -sha256 -sign {private};; esac'


def command(folder: Path, script: str) -> str:
    file = folder / "sign"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return f"exec:{file}"


def test_a_command_signs_and_is_given_no_secret_of_ours(tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(pem_of("p256"))
    (tmp_path / "public").write_bytes(signer_of("p256").verifier.pem)
    script = f"env > {tmp_path / 'env'}; " + SIGNS.format(public=tmp_path / "public", private=tmp_path / "private")
    environ = {"PATH": os.environ["PATH"], "ENTREPOT_SIGNING_PASSWORD": "hush", "PREFECT_API_KEY": "hush"}
    signer = open_command(parse_signer(command(tmp_path, script)), environ, timeout=20)
    assert signer.verifier.verifies(signer.sign(b"payload"), b"payload")
    assert "hush" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo because of this >&2; exit 3", "ended with 3: because of this"),
        ("sleep 30 & wait", "did not answer within 0.3 s"),
        ("sleep 30 >/dev/null 2>&1 & exec 1>&- 2>&-; wait", "did not answer within 0.3 s"),
        ("exec cat /dev/zero", "wrote more than 65536 bytes"),
        ("exec cat /dev/zero >&2", "did not answer within 0.3 s"),
        ("echo no key", "is no public key in PEM"),
    ],
)
def test_what_it_does_wrong_is_told_and_bounded(tmp_path: Path, script: str, said: str) -> None:
    started = time.monotonic()
    with pytest.raises((SignerFailed, KeyInvalid), match=said):
        open_command(
            parse_signer(command(tmp_path, script)), {"PATH": os.environ["PATH"]}, timeout=0.3 if "0.3" in said else 20
        )
    assert time.monotonic() - started < 10


def test_no_shell_reads_the_path(tmp_path: Path) -> None:
    for text in (f"exec:{tmp_path}/a;touch%20{tmp_path}/b", f"exec:{tmp_path}", f"exec:{tmp_path}/absent"):
        with pytest.raises(KeyInvalid, match="no command at this path"):
            open_command(parse_signer(text), {}, timeout=5)
    assert not (tmp_path / "b").exists()


def test_input_of_any_length_is_read_or_not() -> None:
    data = b"x" * 1_000_000
    assert run_bounded(["/bin/cat"], data, {}, what="cat", timeout=20, limit=len(data)) == data
    assert run_bounded(["/bin/true"], data, {}, what="true", timeout=20) == b""
