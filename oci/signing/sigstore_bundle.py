"""Statements about content, signed, in sigstore's bundles.

Source: DSSE 1.0 (protocol.md); in-toto attestation Statement v1; sigstore protobuf-specs, bundle v0.3; cosign BUNDLE_SPEC.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.signing.keys import Signer, Verifier

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD = "application/vnd.in-toto+json"
COSIGN_SIGN = "https://sigstore.dev/cosign/sign/v1"
"""The predicate of a statement that says no more than that the subject is signed."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with signatures over it and its type."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]

    def is_by(self, verifier: Verifier) -> bool:
        """Return whether the key has made one of the signatures."""
        encoded = encode(self.payload_type, self.payload)
        return any(verifier.verifies(signature, encoded) for signature in self.signatures)

    def statement(self) -> Mapping[str, Any]:
        """Return the in-toto statement; raise ManifestInvalid where the payload is none."""
        try:
            document = json.loads(self.payload)
        except (ValueError, RecursionError):
            document = None
        if self.payload_type != PAYLOAD or not isinstance(document, dict):
            raise ManifestInvalid("an attestation's payload is no in-toto statement")
        return document

    def is_for(self, digest: Digest) -> bool:
        """Return whether the statement is about a manifest."""
        try:
            return is_about(self.statement(), digest)
        except ManifestInvalid:
            return False


def is_about(statement: Mapping[str, Any], digest: Digest) -> bool:
    """Return whether an in-toto statement names a manifest as its subject."""
    try:
        return any(subject["digest"].get(digest.algorithm) == digest.encoded for subject in statement["subject"])
    except (KeyError, TypeError, AttributeError):
        return False


def encode(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def make_statement(digest: Digest, name: str, predicate_type: str, predicate: Mapping[str, object]) -> bytes:
    """Return an in-toto statement about one manifest."""
    document = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {digest.algorithm: digest.encoded}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def sign_envelope(statement: bytes, signer: Signer) -> bytes:
    """Return an in-toto statement in a signed envelope, as JSON."""
    signature = base64.b64encode(signer.sign(encode(PAYLOAD, statement))).decode()
    document = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": PAYLOAD,
        "signatures": [{"sig": signature}],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def bundle_envelope(envelope: bytes, verifier: Verifier) -> bytes:
    """Return the sigstore bundle of an envelope that a key has signed."""
    document = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": verifier.fingerprint}, "tlogEntries": []},
        "dsseEnvelope": json.loads(envelope),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def sign_statement(statement: bytes, signer: Signer) -> bytes:
    """Return a sigstore bundle with the statement in a signed envelope."""
    return bundle_envelope(sign_envelope(statement, signer), signer.verifier)


def pack_bundle(store: MemoryStore, bundle: bytes, subject: Manifest, predicate_type: str, created: str) -> Manifest:
    """Put a bundle into the store as an artifact that refers to its subject."""
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
        "org.opencontainers.image.created": created,
    }
    return pack_artifact(store, BUNDLE, [(BUNDLE, bundle)], subject=subject, annotations=annotations)


def read_bundle(raw: bytes) -> Envelope:
    """Return the envelope of a bundle; raise ManifestInvalid for one without."""
    try:
        return _envelope_of(json.loads(raw)["dsseEnvelope"])
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ManifestInvalid(f"a sigstore bundle cannot be read: {type(error).__name__}") from None


def read_envelope(raw: bytes) -> Envelope:
    """Return an envelope that stands alone, as in a tag of cosign's; raise ManifestInvalid."""
    try:
        return _envelope_of(json.loads(raw))
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ManifestInvalid(f"a signed envelope cannot be read: {type(error).__name__}") from None


def _envelope_of(envelope: Mapping[str, Any]) -> Envelope:
    signatures = tuple(base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"])
    return Envelope(str(envelope["payloadType"]), base64.b64decode(envelope["payload"], validate=True), signatures)
