"""Simple signing, cosign's first form. Source: cosign specs/SIGNATURE_SPEC.md; containers/image docs/atomic-signature.md."""

import base64
import binascii
import json
from dataclasses import dataclass

from oci.digest import Digest
from oci.errors import ManifestInvalid
from oci.kinds import COSIGN_LAYER
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.signing.keys import Signer, Verifier

SIGNATURE = "dev.cosignproject.cosign/signature"
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


def pack_signatures(store: MemoryStore, signatures: list[SimpleSignature]) -> Manifest:
    """Put the manifest that a signature tag points to into the store: one layer per signature."""
    layers = []
    for one in signatures:
        layer = store.put_blob(one.payload, COSIGN_LAYER).to_json()
        layers.append({**layer, "annotations": {SIGNATURE: base64.b64encode(one.signature).decode()}})
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
