"""A key on a token, by SoftHSM: cosign's kinds of signatures, PINs from elsewhere, and tokens that are not there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oci.signing.keys import KeyInvalid, Signer
from oci.signing.signers.addresses import parse_signer
from oci.signing.signers.loading import SignerMeans, open_signer
from tests.unit.oci.signing.signers.keys import NAMES, signer_of
from tests.unit.oci.signing.signers.softhsm import PIN, make_token


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    token = make_token(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(token.configuration))
        yield token.module


def opened(module: Path, text: str, password: str | None = PIN) -> Signer:
    found = open_signer(parse_signer(text), SignerMeans(password, {}, lambda path: Path(path).read_bytes(), module))
    assert isinstance(found, Signer)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_signatures_of_each_kind(module: Path, name: str) -> None:
    signer = opened(module, f"pkcs11:token=release;object={name}")
    assert signer.verifier.fingerprint == signer_of(name).verifier.fingerprint
    for data in (b"one", b"two"):
        assert signer.verifier.verifies(signer.sign(data), data)


def test_a_key_by_its_number_and_the_pin_of_a_file(module: Path, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text(f"{PIN}\n")
    signer = opened(module, f"pkcs11:token=release;id=%01?pin-source=file:{tmp_path / 'pin'}", None)
    assert signer.verifier.fingerprint == signer_of("p256").verifier.fingerprint


@pytest.mark.parametrize(
    ("text", "password", "said"),
    [
        ("pkcs11:token=release;object=p256", "wrong-of-a-test", "the PIN of the signer"),
        ("pkcs11:token=absent;object=p256", PIN, "0 tokens fit"),
        ("pkcs11:token=release;object=absent", PIN, "no private key"),
        ("pkcs11:token=release;object=p256?pin-source=%7Ccat", PIN, "names a file, and no command"),
    ],
)
def test_what_cannot_be_used_is_told(module: Path, text: str, password: str, said: str) -> None:
    with pytest.raises(KeyInvalid, match=said) as caught:
        opened(module, text, password)
    assert "of-a-test" not in str(caught.value)


def test_the_library_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyInvalid, match="set ENTREPOT_PKCS11_MODULE"):
        open_signer(parse_signer("pkcs11:object=k"), SignerMeans(PIN, {}, lambda _: b""))
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    with pytest.raises(KeyInvalid, match=r"pip install 'entrepot\[pkcs11\]'"):
        open_signer(parse_signer("pkcs11:object=k"), SignerMeans(PIN, {}, lambda _: b"", Path("/absent.so")))
