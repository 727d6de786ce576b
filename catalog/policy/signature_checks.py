"""One signature checked: what it is about, who has made it, and when. Pure but for the trust configuration, which is asked for.

1. Form: it parses, in one way only. Source: cosign SIGNATURE_SPEC; sigstore bundle v0.3; DSSE 1.0; RFC 9580.
2. Subject: the signed text is about this manifest. Source: SIGNATURE_SPEC, "Payload"; in-toto Statement v1, `subject`.
3. Signer: a key, certificate or OpenPGP key of the policy has signed it. Source: DSSE, "Protocol"; sigstore client spec, 4.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from catalog.policy.evidence import EvidenceItem
from catalog.policy.signature_makers import SignatureMaker, key_makers
from catalog.policy.signers import PolicySigner
from catalog.policy.strict_json import AmbiguousText, load_unique_json
from oci.digest import Digest
from oci.errors import EntrepotError, InvalidInput
from oci.kinds import COSIGN_CERTIFICATE, SIGSTORE_BUNDLE
from oci.signing.cosign import SIGNATURE
from oci.signing.sigstore_bundle import COSIGN_SIGN, PAYLOAD, encode, is_about

if TYPE_CHECKING:
    from oci.signing.certified import CertifiedVerifier  # a second to import

TrustRoots = Callable[[], "CertifiedVerifier"]
"""Returns what verifies certificates; raises EntrepotError where no trust configuration can be had."""

Statements = Literal["signature", "attestation"]
_KINDS = {"cosign": "cosign container image signature", "atomic": "atomic container signature"}
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


@dataclass(frozen=True, slots=True)
class CheckedSignature:
    """What is known of one signature. `made_by` are signers of the policy with what has signed, a key or an identity;
    `fault` says why it is none of theirs.

    `is_technical` tells a fault of ours, or of the means, from one of the signature. `made_at` is what the log or the signer
    says, `clock` which of them.
    """

    form: str
    origin: str
    digest: str
    says: Statements = "signature"
    predicate_type: str = ""
    predicate: Any = field(default=None, repr=False)
    name: str = ""
    made_by: tuple[SignatureMaker, ...] = ()
    made_at: datetime | None = None
    clock: Literal["", "log", "signer"] = ""
    step: int = 3
    fault: str = ""
    is_technical: bool = False


class _Fault(Exception):
    """Why a signature is not what it should be, and at which step."""

    def __init__(self, step: int, reason: str, *, is_technical: bool = False) -> None:
        super().__init__(reason)
        self.step, self.reason, self.is_technical = step, reason, is_technical


def check_signature(
    item: EvidenceItem, digest: Digest, signers: Mapping[str, PolicySigner], trust: TrustRoots
) -> CheckedSignature:
    """Return what is known of one item; nothing is raised for what is wrong with it."""
    base = CheckedSignature(item.form, item.origin, item.digest)
    try:
        if item.form == "unreadable":
            raise _Fault(1, item.problem, is_technical=True)
        return _CHECKS[item.form](base, item, digest, signers, trust)
    except _Fault as fault:
        return replace(base, step=fault.step, fault=fault.reason, is_technical=fault.is_technical)


def _check_cosign(
    base: CheckedSignature, item: EvidenceItem, digest: Digest, signers: Mapping[str, PolicySigner], _trust: TrustRoots
) -> CheckedSignature:
    text = item.annotations.get(SIGNATURE)
    if not text:
        raise _Fault(1, "the layer carries no signature")
    signature = _decode(text, "the signature")
    found = _read_payload(base, item.content, digest, _KINDS["cosign"])
    makers = _by_keys((signature,), item.content, signers)
    if not makers and COSIGN_CERTIFICATE in item.annotations:
        raise _Fault(
            3,
            "a signature by certificate under a tag has no proof of the log; sign into a bundle (cosign 3, entrepot sign)",
        )
    return _signed(found, makers)


def _check_atomic(
    base: CheckedSignature, item: EvidenceItem, digest: Digest, signers: Mapping[str, PolicySigner], _trust: TrustRoots
) -> CheckedSignature:
    from oci.signing.pgp_keyring import load_pgp_keyring
    from oci.signing.pgp_messages import SignatureInvalid, literal_of

    try:
        told = literal_of(item.content)
    except SignatureInvalid as error:
        raise _Fault(1, error.message) from None
    found = _read_payload(base, told, digest, _KINDS["atomic"])
    makers: list[SignatureMaker] = []
    reason = ""
    for name, signer in signers.items():
        if not signer.openpgp:
            continue
        try:
            opened = load_pgp_keyring(signer.openpgp.encode(), where="openpgp").open(item.content)
        except SignatureInvalid as error:
            reason = error.message
            continue
        if opened.payload == told:
            makers += [
                key_makers(name, f"OpenPGP key {one}", keys, signers)
                for one, keys in signer.openpgp_keys.items()
                if one in opened.fingerprints
            ]
    return _signed(found, makers, reason)


def _check_bundle(
    base: CheckedSignature, item: EvidenceItem, digest: Digest, signers: Mapping[str, PolicySigner], trust: TrustRoots
) -> CheckedSignature:
    document = _load(item.content, "the bundle")
    material = document.get("verificationMaterial") if isinstance(document, dict) else None
    if not isinstance(material, dict) or not isinstance(document.get("dsseEnvelope"), dict):
        raise _Fault(1, "the bundle has no verification material, or no DSSE envelope")
    if not str(document.get("mediaType", "")).startswith(SIGSTORE_BUNDLE):
        raise _Fault(1, "the bundle has another media type")
    kind, payload, signatures = _read_envelope(document["dsseEnvelope"])
    found = _read_statement(base, kind, payload, digest)
    if not ({"certificate", "x509CertificateChain"} & material.keys()):
        return _signed(found, _by_keys(signatures, encode(kind, payload), signers))
    named = {name: signer for name, signer in signers.items() if signer.has_certificate}
    if not named:
        return _signed(found, (), "it is by a certificate, and the rule names no identity")
    return _check_certificate(found, item.content, payload, named, trust)


def _check_certificate(
    found: CheckedSignature, raw: bytes, payload: bytes, signers: Mapping[str, PolicySigner], trust: TrustRoots
) -> CheckedSignature:
    try:
        verifier = trust()
    except EntrepotError as error:
        raise _Fault(3, f"the trust configuration cannot be had: {error.message}", is_technical=True) from None
    try:
        certified = verifier.open(raw)
    except InvalidInput as error:
        raise _Fault(3, error.message) from None
    if certified.payload != payload:
        raise _Fault(3, "the verified payload is another one")
    who = f"{', '.join(certified.identities)[:200]} of {certified.issuer[:200]}"
    principals = {f"{identity} of {certified.issuer}" for identity in certified.identities} | {certified.public_key}
    makers = [
        SignatureMaker(name, who, frozenset(principals))
        for name, signer in signers.items()
        if any(signer.is_identity(identity, certified.issuer) for identity in certified.identities)
    ]
    made = _signed(found, makers, f"it is by {who}, whom the rule does not name")
    return replace(made, made_at=certified.logged_at, clock="log")


def _check_attestation(
    base: CheckedSignature, item: EvidenceItem, digest: Digest, signers: Mapping[str, PolicySigner], _trust: TrustRoots
) -> CheckedSignature:
    kind, payload, signatures = _read_envelope(_load(item.content, "the attestation"))
    found = _read_statement(base, kind, payload, digest)
    return _signed(found, _by_keys(signatures, encode(kind, payload), signers))


_CHECKS = {
    "cosign": _check_cosign,
    "atomic": _check_atomic,
    "bundle": _check_bundle,
    "attestation": _check_attestation,
}


def _load(raw: bytes, where: str) -> Any:
    try:
        return load_unique_json(raw, where)
    except AmbiguousText as error:
        raise _Fault(1, error.message) from None


def _decode(text: object, what: str) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise _Fault(1, f"{what} is no base64") from None


def _read_envelope(envelope: Any) -> tuple[str, bytes, tuple[bytes, ...]]:
    try:
        signatures = tuple(_decode(one["sig"], "the signature") for one in envelope["signatures"])
        return str(envelope["payloadType"]), _decode(envelope["payload"], "the payload"), signatures
    except (KeyError, TypeError) as error:
        raise _Fault(1, f"the DSSE envelope has no {error}" if isinstance(error, KeyError) else "no envelope") from None


def _read_payload(base: CheckedSignature, payload: bytes, digest: Digest, kind: str) -> CheckedSignature:
    """Read a simple signing payload: its type, the manifest it is about, and the name that it vouches for."""
    document = _load(payload, "the payload")
    try:
        critical = document["critical"]
        found, about, name = critical["type"], critical["image"]["docker-manifest-digest"], critical["identity"]
        reference = str(name["docker-reference"])
    except (KeyError, TypeError):
        raise _Fault(1, "the payload is no simple signing payload") from None
    if found != kind:
        raise _Fault(1, f"the payload is of the type {str(found)[:80]!r}, not {kind!r}")
    if about != digest:
        raise _Fault(2, f"the payload is about {str(about)[:150]}")
    optional = document.get("optional")
    stamp = optional.get("timestamp") if isinstance(optional, dict) else None
    return _with_signers_time(replace(base, name=reference), stamp)


def _with_signers_time(found: CheckedSignature, stamp: object) -> CheckedSignature:
    if not isinstance(stamp, int) or isinstance(stamp, bool):
        return found
    try:
        return replace(found, made_at=datetime.fromtimestamp(stamp, UTC), clock="signer")
    except (ValueError, OverflowError, OSError):
        raise _Fault(1, "the payload has a time that is none") from None


def _read_statement(base: CheckedSignature, kind: str, payload: bytes, digest: Digest) -> CheckedSignature:
    if kind != PAYLOAD:
        raise _Fault(1, f"the payload is of the type {kind[:80]!r}, not {PAYLOAD!r}")
    statement = _load(payload, "the statement")
    if not isinstance(statement, dict) or statement.get("_type") not in _STATEMENTS:
        raise _Fault(1, "the payload is no in-toto statement")
    if not is_about(statement, digest):
        raise _Fault(2, f"the statement is about {_subjects(statement)}")
    predicate_type = str(statement.get("predicateType", ""))
    names = [one.get("name") for one in statement["subject"] if is_about({"subject": [one]}, digest)]
    says: Statements = "signature" if predicate_type == COSIGN_SIGN else "attestation"
    return replace(
        base,
        says=says,
        predicate_type=predicate_type,
        predicate=statement.get("predicate"),
        name=str(names[0] or "") if names else "",
    )


def _subjects(statement: Mapping[str, Any]) -> str:
    return json.dumps(statement.get("subject"), default=str)[:150]


def _by_keys(signatures: tuple[bytes, ...], data: bytes, signers: Mapping[str, PolicySigner]) -> list[SignatureMaker]:
    """Return the signers with a key that has made one of the signatures; 16 signatures are looked at."""
    return [
        key_makers(name, f"key {verifier.fingerprint}", frozenset({verifier.fingerprint}), signers)
        for name, signer in signers.items()
        for verifier in signer.verifiers
        if any(verifier.verifies(one, data) for one in signatures[:16])
    ]


def _signed(found: CheckedSignature, makers: Sequence[SignatureMaker], reason: str = "") -> CheckedSignature:
    if makers:
        return replace(found, made_by=tuple(sorted(makers, key=lambda one: (one.signer, one.shown))))
    return replace(found, fault=reason or "no key that the rule names has made it")
