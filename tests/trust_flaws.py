"""What is done to a bundle by a certificate to make a vector of one flaw: kinds that sigstore-conformance has too."""

import base64
import json
from collections.abc import Callable
from typing import Any

Bundle = dict[str, Any]
Flaw = tuple[str, str, Callable[[Bundle, Bundle], None]]
"""The vector's name, the reason of its refusal, and what it does to a bundle; the second one is of another digest."""


def _entry(bundle: Bundle) -> Bundle:
    found: Bundle = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


def _altered(text: str) -> str:
    """Base64 with another last byte: of a certificate, that is its signature."""
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    return base64.b64encode(raw).decode()


def _alter(path: str, change: Callable[[Any], Any] = _altered) -> Callable[[Bundle, Bundle], None]:
    """A flaw in one field of a bundle, or of its log entry where the path begins with `entry`."""
    *parents, last = path.split(".")

    def flaw(bundle: Bundle, _other: Bundle) -> None:
        place: Any = bundle
        for parent in parents:
            place = _entry(bundle) if parent == "entry" else place[int(parent) if parent.isdigit() else parent]
        place[last] = change(place[last])

    return flaw


def _swap(field: str) -> Callable[[Bundle, Bundle], None]:
    def flaw(bundle: Bundle, other: Bundle) -> None:
        bundle["verificationMaterial"][field] = other["verificationMaterial"][field]

    return flaw


def _drop(path: str) -> Callable[[Bundle, Bundle], None]:
    *parents, last = path.split(".")

    def flaw(bundle: Bundle, _other: Bundle) -> None:
        place: Any = bundle
        for parent in parents:
            place = _entry(bundle) if parent == "entry" else place[parent]
        del place[last]

    return flaw


def _payload_without_type(bundle: Bundle, _other: Bundle) -> None:
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    del statement["_type"]
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()


def _unsigned_checkpoint(text: str) -> str:
    return text.partition("\n\n")[0] + "\n\n"


LOGGED_FLAWS: tuple[Flaw, ...] = (
    ("log-entry-missing", "expected exactly one log entry", _alter("verificationMaterial.tlogEntries", lambda _: [])),
    ("log-entry-of-another-artifact", "log entry payload hash does not match", _swap("tlogEntries")),
    (
        "bundle-of-unknown-version",
        "failed to load bundle",
        _alter("mediaType", lambda text: text.replace("v0.3", "v9.9")),
    ),
    ("bundle-without-key-or-certificate", "no key that the rule names", _drop("verificationMaterial.certificate")),
    ("certificate-altered", "signature does not match", _alter("verificationMaterial.certificate.rawBytes")),
    ("statement-without-type", "the payload is no in-toto statement", _payload_without_type),
    (
        "payload-of-another-type",
        "the payload is of the type 'text/plain'",
        _alter("dsseEnvelope.payloadType", lambda _: "text/plain"),
    ),
    ("signature-altered", "DSSE: invalid signature", _alter("dsseEnvelope.signatures.0.sig")),
    (
        "signature-no-base64",
        "the signature is no base64",
        _alter("dsseEnvelope.signatures.0.sig", lambda text: f"!{text}"),
    ),
    ("log-index-negative", "exceeds uint64 domain", _alter("entry.logIndex", lambda _: "-1")),
    ("log-promise-altered", "invalid inclusion promise", _alter("entry.inclusionPromise.signedEntryTimestamp")),
    ("log-proof-missing", "Field required", _drop("entry.inclusionProof")),
    ("log-proof-of-another-root", "invalid root hash", _alter("entry.inclusionProof.rootHash")),
    (
        "log-proof-with-hashes-too-many",
        "inclusion proof has wrong size",
        _alter("entry.inclusionProof.hashes", lambda _: [base64.b64encode(b"x" * 32).decode()]),
    ),
    (
        "checkpoint-missing",
        "note must contain one blank line",
        _alter("entry.inclusionProof.checkpoint.envelope", lambda _: ""),
    ),
    (
        "checkpoint-unsigned",
        "must contain at least one signature",
        _alter("entry.inclusionProof.checkpoint.envelope", _unsigned_checkpoint),
    ),
    (
        "checkpoint-of-another-size",
        "checkpoint: invalid signature",
        _alter("entry.inclusionProof.checkpoint.envelope", lambda text: text.replace("\n1\n", "\n2\n", 1)),
    ),
)
TIMESTAMPED_FLAWS: tuple[Flaw, ...] = (
    (
        "timestamp-missing",
        "inclusion promise or signed timestamp",
        _drop("verificationMaterial.timestampVerificationData"),
    ),
    ("timestamp-of-another-signature", "not enough sources of verified time", _swap("timestampVerificationData")),
    ("timestamped-entry-of-another-artifact", "inconsistent with other materials", _swap("tlogEntries")),
    (
        "timestamped-checkpoint-unsigned",
        "must contain at least one signature",
        _alter("entry.inclusionProof.checkpoint.envelope", _unsigned_checkpoint),
    ),
)
