"""Thresholds where signers share a key: in PEM, in OpenPGP keys and in certificates, its holder counts once."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pysequoia
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from catalog.policy.evidence import EvidenceItem
from catalog.policy.signature_makers import SignatureMaker, count_signers
from oci.digest import Digest
from oci.errors import InvalidInput
from oci.signing.keys import KeySigner, PrivateKey
from oci.signing.pgp_keyring import load_pgp_keyring
from oci.signing.pgp_keys import load_pgp_signer
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement, sign_statement
from tests.trust import Key, decide, policy, signed
from tests.trust_vectors import ORIGIN, REPOSITORY

NOW = datetime(2026, 12, 1, tzinfo=UTC)
DIGEST = Digest.of(b"image")
SUITES = pysequoia.CipherSuite
PROFILES = pysequoia.Profile
KINDS = {
    "rsa": (SUITES.RSA2k, PROFILES.RFC4880),
    "p256": (SUITES.P256, PROFILES.RFC4880),
    "p384": (SUITES.P384, PROFILES.RFC9580),
    "p521": (SUITES.P521, PROFILES.RFC4880),
    "ed25519": (SUITES.Cv25519, PROFILES.RFC4880),
    "ed25519 of version 6": (SUITES.Cv25519, PROFILES.RFC9580),
}
CURVES: dict[str, type[ec.EllipticCurve]] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}


class Holder:
    """Somebody with an OpenPGP key: `own` is its primary key, `other` the key below it that signs, as keys for cosign."""

    def __init__(self, kind: str = "ed25519") -> None:
        suite, profile = KINDS[kind]
        self._secret = pysequoia.Tsk.generate(user_id="a <a@example.org>", cipher_suite=suite, profile=profile)
        self.openpgp = str(self._secret.extract_certificate())
        packets = list(pysequoia.packet.PacketPile.from_bytes(bytes(self._secret)))
        self.own = key_of(kind, bytes(packets[0].body))
        self.other = key_of(kind, bytes(next(one.body for one, after in pairwise(packets) if _signs(one, after))))

    def signs(self) -> EvidenceItem:
        """Return an Atomic signature."""
        signer = load_pgp_signer(bytes(self._secret), None, where="here")
        made = signer.sign(DIGEST, f"registry.example/{REPOSITORY}", name="a" * 32, timestamp=int(NOW.timestamp()) - 9)
        return EvidenceItem("atomic", ORIGIN, made.content)


def _signs(packet: Any, binding: Any) -> bool:
    """Return whether a packet is a key below the first that is there to sign, by the signature behind it."""
    is_below = packet.tag == pysequoia.packet.Tag.SecretSubkey
    return is_below and binding.key_flags is not None and binding.key_flags.signing


def key_of(kind: str, body: bytes) -> Key:
    """Read the secret of a key packet without a password: nothing here reads its public half. Source: RFC 9580, 5.5.3."""
    made = Key()
    made.signer = KeySigner(_private(kind, body))
    made.pem = made.signer.verifier.pem.decode()
    return made


def _private(kind: str, body: bytes) -> PrivateKey:
    if kind == "ed25519 of version 6":
        return ed25519.Ed25519PrivateKey.from_private_bytes(body[-32:])
    at = 10 if body[0] == 6 else 6
    at += 0 if kind == "rsa" else 1 + body[at]  # behind the name of the curve
    public = _numbers(body, at, 2 if kind == "rsa" else 1)
    at += sum(2 + len(one) for one in public)
    assert body[at] == 0  # no password
    secret = _numbers(body, at + 1, 3 if kind == "rsa" else 1)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(secret[0].rjust(32, b"\0"))
    if kind != "rsa":
        return ec.derive_private_key(int.from_bytes(secret[0]), CURVES[kind]())
    modulus, exponent, private, first, second = (int.from_bytes(one) for one in (*public, *secret))
    return rsa.RSAPrivateNumbers(
        first,
        second,
        private,
        rsa.rsa_crt_dmp1(private, first),
        rsa.rsa_crt_dmq1(private, second),
        rsa.rsa_crt_iqmp(first, second),
        rsa.RSAPublicNumbers(exponent, modulus),
    ).private_key()


def _numbers(body: bytes, at: int, count: int) -> list[bytes]:
    """Return numbers of OpenPGP, each behind its length in bits."""
    found: list[bytes] = []
    for _ in range(count):
        size = (int.from_bytes(body[at : at + 2]) + 7) // 8
        found.append(body[at + 2 : at + 2 + size])
        at += 2 + size
    return found


def allows(signers: dict[str, Any], *items: EvidenceItem, threshold: object = 2) -> bool:
    return decide(policy(signers, threshold=threshold), DIGEST, *items, now=NOW).is_allowed


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_keys_of_an_openpgp_key_are_those_of_pem(kind: str) -> None:
    holder = Holder(kind)
    keyring = load_pgp_keyring(holder.openpgp.encode(), where="here")
    (fingerprint,) = keyring.fingerprints
    found = keyring.public_keys(fingerprint)
    assert {holder.own.signer.verifier.fingerprint, holder.other.signer.verifier.fingerprint} <= found
    assert len(found) == 3  # and one to encrypt


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_in_pem_and_as_openpgp_is_one_signer(kind: str) -> None:
    holder, somebody = Holder(kind), Key()
    signers = {"pem": holder.other.entry, "pgp": {"openpgp": holder.openpgp}, "third": somebody.entry}
    both = [signed(holder.other, DIGEST), holder.signs()]
    assert allows(signers, *both, threshold="any")
    assert not allows(signers, *both)
    assert not allows(signers, *both, signed(somebody, DIGEST), threshold="all")
    assert allows(signers, *both, signed(somebody, DIGEST))
    assert allows(signers, both[1], signed(somebody, DIGEST))


def test_keys_of_one_openpgp_key_have_one_holder() -> None:
    holder = Holder()
    signers = {"own": holder.own.entry, "below": holder.other.entry, "pgp": {"openpgp": holder.openpgp}}
    by_pem = [signed(holder.own, DIGEST, "registry.example/a"), signed(holder.other, DIGEST, "registry.example/b")]
    assert not allows(signers, by_pem[0], holder.signs())
    assert not allows(signers, *by_pem)  # the policy says so, whether the OpenPGP key has signed or not
    assert not allows(signers, *by_pem, holder.signs())


def test_different_keys_are_different_signers_in_whatever_form() -> None:
    one, two, three = Holder(), Holder(), Key()
    signers = {"a": {"openpgp": one.openpgp}, "b": {"openpgp": two.openpgp}, "c": three.entry}
    assert allows(signers, one.signs(), two.signs())
    assert allows(signers, one.signs(), two.signs(), signed(three, DIGEST), threshold="all")
    assert not allows(signers, one.signs(), one.signs())


def test_a_signer_with_several_keys_is_known_by_each_that_has_signed() -> None:
    holder, first = Holder(), Key()
    signers = {"team": {"keys": [first.pem, holder.other.pem]}, "pgp": {"openpgp": holder.openpgp}}
    assert not allows(signers, signed(holder.other, DIGEST), holder.signs())
    assert allows(signers, signed(first, DIGEST), holder.signs())
    statement = make_statement(DIGEST, REPOSITORY, COSIGN_SIGN, {})
    bundle = sign_statement(statement, holder.other.signer)
    assert not allows(signers, EvidenceItem("bundle", ORIGIN, bundle), holder.signs())
    assert allows(signers, EvidenceItem("bundle", ORIGIN, bundle), holder.signs(), signed(first, DIGEST))


def test_one_key_in_two_encodings_or_under_two_names_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    pems = [
        key.public_bytes(serialization.Encoding.PEM, form).decode()
        for form in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1)
    ]
    for other in pems:
        with pytest.raises(InvalidInput, match="a and b are the same one"):
            policy({"a": {"keys": [pems[0]]}, "b": {"keys": [other]}})


def test_an_identity_and_the_key_of_its_certificate_are_one_signer() -> None:
    by_certificate = SignatureMaker("ci", "x of i", frozenset({"x of i", "key K"}))
    assert count_signers([by_certificate, SignatureMaker("pem", "key K", frozenset({"key K"}))]) == 1
    assert count_signers([by_certificate, SignatureMaker("pem", "key L", frozenset({"key L"}))]) == 2
    several = SignatureMaker("broad", "x, y of i", frozenset({"x of i", "y of i"}))
    assert count_signers([by_certificate, several]) == 1
