"""Cosign's first form: simple signing and attestations, under tags.

Source: cosign specs/SIGNATURE_SPEC.md and ATTESTATION_SPEC.md; containers/image docs/atomic-signature.md.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Literal

from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.kinds import COSIGN_LAYER, ENVELOPE_LAYER
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.signing.keys import Signer, Verifier

SIGNATURE = "dev.cosignproject.cosign/signature"

SignatureForm = Literal["bundle", "tags", "both"]
"""`bundle`: a sigstore bundle that refers to the manifest, for cosign 3. `tags`: a tag `sha256-….sig` or `.att`, for cosign 2."""

_TYPE = "cosign container image signature"


@dataclass(frozen=True, slots=True)
class SimpleSignature:
    """A payload and the signature over its bytes; `annotations` are those of its layer."""

    payload: bytes
    signature: bytes

    def is_for(self, digest: Digest) -> bool:
        """Return whether the payload claims to be about a manifest."""
        try:
            critical = json.loads(self.payload)["critical"]
            return bool(critical["type"] == _TYPE and critical["image"]["docker-manifest-digest"] == digest)
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    def is_by(self, verifier: Verifier) -> bool:
        """Return whether the key has signed the payload."""
        return verifier.verifies(self.signature, self.payload)


def sign_simple(digest: Digest, reference: str, signer: Signer) -> SimpleSignature:
    """Sign a manifest; `reference` is the name that the payload says it has."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": _TYPE,
    }
    payload = json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()
    return SimpleSignature(payload, signer.sign(payload))


def pack_signature(store: MemoryStore, held: Manifest | None, signature: SimpleSignature) -> Manifest:
    """Put the manifest that a signature tag points to into the store: the layers that it has, and one more."""
    layer = store.put_blob(signature.payload, COSIGN_LAYER).to_json()
    annotations = {SIGNATURE: base64.b64encode(signature.signature).decode()}
    return _pack_layers(store, [*_layers_of(held), {**layer, "annotations": annotations}])


def pack_attestation(store: MemoryStore, held: Manifest | None, envelope: bytes, predicate_type: str) -> Manifest:
    """Put the manifest that an attestation tag points to into the store: the layers that it has, and one more."""
    layer = store.put_blob(envelope, ENVELOPE_LAYER).to_json()
    annotations = {SIGNATURE: "", "predicateType": predicate_type}
    return _pack_layers(store, [*_layers_of(held), {**layer, "annotations": annotations}])


def _layers_of(held: Manifest | None) -> list[dict[str, object]]:
    """Return the layers as they stand in the manifest's text; none of what holds none."""
    return [] if held is None else list(json.loads(held.raw).get("layers") or ())


def _pack_layers(store: MemoryStore, layers: list[dict[str, object]]) -> Manifest:
    config = {
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": store.put_blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json").to_json(),
        "layers": layers,
    }
    return store.put_manifest(json.dumps(document, separators=(",", ":")).encode(), str(document["mediaType"]))


def read_signature(annotation: str | None, payload: bytes) -> SimpleSignature:
    """Return the signature of one layer; raise ManifestInvalid where there is none."""
    try:
        return SimpleSignature(payload, base64.b64decode(annotation or "", validate=True))
    except binascii.Error:
        raise ManifestInvalid("a signature's layer carries no signature") from None
