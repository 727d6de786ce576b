"""Signing and verifying: altered in any part, a signature is none."""

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.signing.cosign import sign_simple
from oci.signing.keys import KeyInvalid, KeySigner, PrivateKey, Signer, load_signer, load_verifier
from oci.signing.sigstore_bundle import COSIGN_SIGN, encode, make_statement, read_bundle, sign_statement

DIGEST, OTHER = Digest.of(b"image"), Digest.of(b"another")
KEYS: dict[str, PrivateKey] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def pem_of(key: object, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(params=KEYS)
def signer(request: pytest.FixtureRequest) -> Signer:
    return load_signer(pem_of(KEYS[request.param]), None, where="here")


def test_a_simple_signature_holds_until_anything_is_altered(signer: Signer) -> None:
    good = sign_simple(DIGEST, "team/app", signer)
    assert good.is_for(DIGEST)
    assert good.is_by(signer.verifier)
    assert not good.is_for(OTHER)
    assert not good.is_by(KeySigner(ec.generate_private_key(ec.SECP256R1())).verifier)
    altered = bytes([good.signature[0] ^ 1]) + good.signature[1:]
    assert not replace(good, signature=altered).is_by(signer.verifier)
    assert not replace(good, payload=good.payload.replace(DIGEST.encode(), OTHER.encode())).is_by(signer.verifier)
    assert not replace(good, payload=b"[]").is_for(DIGEST)


def test_a_statement_holds_until_anything_is_altered(signer: Signer) -> None:
    raw = sign_statement(make_statement(DIGEST, "team/app", COSIGN_SIGN, {}), signer)
    good = read_bundle(raw)
    assert good.is_for(DIGEST)
    assert not good.is_for(OTHER)
    assert good.is_by(signer.verifier)
    assert not replace(good, payload=good.payload + b" ").is_by(signer.verifier)
    assert not replace(good, payload_type="text/plain").is_by(signer.verifier)
    assert json.loads(raw)["verificationMaterial"]["publicKey"]["hint"] == signer.verifier.fingerprint


def test_the_encoding_is_that_of_dsse() -> None:
    assert encode("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"dsseEnvelope":{"signatures":[{"sig":"%"}]}}'])
def test_what_is_no_bundle_is_told(raw: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        read_bundle(raw)


def test_passwords_and_wrong_keys() -> None:
    encrypted = pem_of(KEYS["p256"], b"secret-of-mine")
    loaded = load_signer(encrypted, "secret-of-mine", where="here").verifier
    assert loaded.fingerprint == KeySigner(KEYS["p256"]).verifier.fingerprint
    for pem, password, said in (
        (encrypted, None, "is encrypted: set ENTREPOT_SIGNING_PASSWORD"),
        (encrypted, "another", "its password"),
        (pem_of(KEYS["p256"]), "useless", "is set: unset ENTREPOT_SIGNING_PASSWORD"),
        (pem_of(x25519.X25519PrivateKey.generate()), None, "of a kind that does not sign"),
        (b"no key", None, "is no private key"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END", "x", "is damaged"),
    ):
        with pytest.raises(KeyInvalid, match=said) as caught:
            load_signer(pem, password, where="here")
        assert "secret-of-mine" not in str(caught.value)
    with pytest.raises(KeyInvalid):
        load_verifier(b"no key", where="here")


def test_a_key_that_would_fill_the_memory_is_refused() -> None:

    parameters = {"N": 2**40, "r": 8, "p": 1}
    document = {
        "kdf": {"name": "scrypt", "params": parameters, "salt": ""},
        "cipher": {"name": "nacl/secretbox", "nonce": ""},
        "ciphertext": "",
    }
    body = base64.b64encode(json.dumps(document).encode()).decode()
    pem = f"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n{body}\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n"
    with pytest.raises(KeyInvalid, match="exceed the allowed cost"):
        load_signer(pem.encode(), "x", where="here")
