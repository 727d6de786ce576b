"""The signers that a policy knows: public keys, identities of certificates, or OpenPGP certificates.

Source: sigstore client specification, 4.3 (identity and issuer); RFC 9580 (fingerprints).
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog.parsed_text import explained
from oci.kinds import COSIGN_CERTIFICATE
from oci.signing.keys import Verifier, load_verifier

_LONGEST_PATTERN = 500


class PolicySigner(BaseModel):
    """One signer, of exactly one kind: `keys`, an identity with its issuer, or `openpgp`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[str, ...] = Field(
        default=(), max_length=20, description="Public keys in PEM; any of them is this signer's."
    )
    identity: str = Field(default="", max_length=2000, description="Identity of the certificate, exactly.")
    identity_pattern: str = Field(
        default="", max_length=_LONGEST_PATTERN, description="Regular expression of the identity, from ^ to $."
    )
    issuer: str = Field(default="", max_length=2000, description="Issuer of the identity, exactly.")
    openpgp: str = Field(default="", max_length=128 * 1024, description="OpenPGP public keys, armored.")
    fingerprints: tuple[str, ...] = Field(
        default=(), max_length=20, description="Fingerprints of those of the keys that count. Default: all."
    )

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for pem in keys:
            explained(lambda text: load_verifier(text.encode(), where="key"), pem)
        return tuple(pem.strip() + "\n" for pem in keys)

    @field_validator("identity_pattern")
    @classmethod
    def _check_pattern(cls, text: str) -> str:
        if not text:
            return text
        if not (text.startswith("^") and text.endswith("$")) or text.endswith("\\$"):
            raise ValueError("expected a pattern that is anchored: from ^ to $")
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"expected a regular expression: {error}") from None
        return text

    @field_validator("fingerprints")
    @classmethod
    def _check_fingerprints(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(text.replace(" ", "").lower() for text in texts)
        if any(not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", text) for text in plain):
            raise ValueError("expected fingerprints of 40 or 64 hexadecimal digits; a key id is too short to trust")
        return plain

    @model_validator(mode="after")
    def _check_kind(self) -> "PolicySigner":
        named = bool(self.identity) + bool(self.identity_pattern)
        if bool(self.keys) + bool(named) + bool(self.openpgp) != 1:
            raise ValueError("expected exactly one of keys, identity (or identity_pattern), and openpgp")
        if named > 1:
            raise ValueError("expected identity or identity_pattern, not both")
        if bool(self.issuer) != bool(named):
            raise ValueError("an identity needs its issuer: another issuer may give the same name to somebody else")
        if self.fingerprints and not self.openpgp:
            raise ValueError("fingerprints need the keys: set openpgp")
        if self.openpgp:
            self._check_openpgp()
        return self

    def _check_openpgp(self) -> None:
        from oci.signing.pgp_keyring import load_pgp_keyring

        keyring = explained(lambda text: load_pgp_keyring(text.encode(), where="openpgp"), self.openpgp)
        if missing := [one for one in self.fingerprints if one not in keyring.fingerprints]:
            raise ValueError(f"openpgp has no key of the fingerprint {missing[0]}")

    @property
    def has_certificate(self) -> bool:
        """Return whether the signer is known by an identity."""
        return bool(self.issuer)

    @cached_property
    def verifiers(self) -> tuple[Verifier, ...]:
        """Return what checks by the keys."""
        return tuple(load_verifier(pem.encode(), where="key") for pem in self.keys)

    @cached_property
    def openpgp_fingerprints(self) -> frozenset[str]:
        """Return the fingerprints of the OpenPGP keys that count."""
        if not self.openpgp:
            return frozenset()
        from oci.signing.pgp_keyring import load_pgp_keyring

        return frozenset(self.fingerprints) or load_pgp_keyring(self.openpgp.encode(), where="openpgp").fingerprints

    @cached_property
    def openpgp_keys(self) -> Mapping[str, frozenset[str]]:
        """Return by fingerprint of the OpenPGP keys that count the public keys in them, named as those of `verifiers`."""
        if not self.openpgp:
            return {}
        from oci.signing.pgp_keyring import load_pgp_keyring

        keyring = load_pgp_keyring(self.openpgp.encode(), where="openpgp")
        return {one: keyring.public_keys(one) for one in sorted(self.openpgp_fingerprints)}

    @property
    def principals(self) -> tuple[str, ...]:
        """Return texts that two signers share only if they are the same one."""
        if self.keys:
            return tuple(f"key {one.fingerprint}" for one in self.verifiers)
        if self.openpgp:
            return tuple(f"openpgp {one}" for one in sorted(self.openpgp_fingerprints))
        return (f"{self.identity or self.identity_pattern} of {self.issuer}",)

    def is_identity(self, identity: str, issuer: str) -> bool:
        """Return whether a certificate's identity and issuer are this signer's: every character, and its case."""
        if not self.issuer or issuer != self.issuer:
            return False
        if self.identity:
            return identity == self.identity
        return len(identity) <= 2000 and re.fullmatch(self.identity_pattern, identity) is not None


def may_be_by(form: str, content: bytes, annotations: Mapping[str, str], signers: Iterable[PolicySigner]) -> bool:
    """Return whether a signature claims nothing against being by one of the signers; no cryptography.

    Anybody can claim anything: this sorts, it decides nothing.
    """
    signers = tuple(signers)
    if form in ("cosign", "attestation"):
        return any(one.keys for one in signers) and COSIGN_CERTIFICATE not in annotations
    if form == "atomic":
        return any(one.openpgp for one in signers)
    try:
        material = json.loads(content)["verificationMaterial"]
        if "publicKey" in material:
            return any(material["publicKey"]["hint"] == key.fingerprint for one in signers for key in one.verifiers)
        first = material.get("certificate") or material["x509CertificateChain"]["certificates"][0]
        certificate = base64.b64decode(first["rawBytes"])
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return False
    return any(
        one.issuer.encode() in certificate and one.identity.encode() in certificate for one in signers if one.issuer
    )
