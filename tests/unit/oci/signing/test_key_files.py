"""New keys: readable by their owner alone, encrypted, never over another file."""

from pathlib import Path

import pytest

from oci.errors import InvalidInput
from oci.signing.key_files import KeyType, generate_key, write_key_pair
from oci.signing.keys import KeyInvalid, load_signer, load_verifier


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519", "rsa"])
def test_a_pair_is_written_once_and_read_with_its_password(tmp_path: Path, kind: KeyType) -> None:
    signer = generate_key(kind)
    private, public = write_key_pair(signer, "open sesame", tmp_path / "v1.2")
    assert (private.name, public.name) == ("v1.2.key", "v1.2.pub")
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    assert b"BEGIN ENCRYPTED SIGSTORE PRIVATE KEY" in private.read_bytes()
    loaded = load_signer(private.read_bytes(), "open sesame", where="here")
    verifier = load_verifier(public.read_bytes(), where="here")
    assert verifier.verifies(loaded.sign(b"data"), b"data")
    with pytest.raises(KeyInvalid, match="the password"):
        load_signer(private.read_bytes(), "another", where="here")


@pytest.mark.parametrize("there", ["a.key", "a.pub"])
def test_nothing_is_overwritten_and_no_half_is_left(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("of somebody")
    with pytest.raises(InvalidInput, match="never overwritten"):
        write_key_pair(generate_key("ecdsa"), "open sesame", tmp_path / "a")
    assert [(one.name, one.read_text()) for one in tmp_path.glob("a.*")] == [(there, "of somebody")]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput):
        write_key_pair(generate_key("ecdsa"), "open sesame", tmp_path / "a")
    assert not (tmp_path / "elsewhere").exists()
