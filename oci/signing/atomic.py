"""Atomic signatures: OpenPGP over a simple signing payload.

Source: containers/image, docs/atomic-signature.md and docs/signature-protocols.md.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass

from oci.digest import Digest
from oci.kinds import ATOMIC_SIGNATURE
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.signing.pgp_messages import SignatureInvalid, literal_of

ATOMIC = ATOMIC_SIGNATURE

_NAME = "entrepot.atomic-signature.name"
_TYPE = "atomic container signature"
_FORM = re.compile(r"(sha(?:256|512):[0-9a-f]{64,128})@[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class AtomicSignature:
    """A signature by the name its maker gave it, `DIGEST@32 hex digits`."""

    name: str
    content: bytes

    def to_json(self) -> dict[str, object]:
        """Return the object of the extension's responses."""
        content = base64.b64encode(self.content).decode()
        return {"schemaVersion": 2, "name": self.name, "type": "atomic", "content": content}


def parse_atomic(raw: bytes, digest: Digest) -> AtomicSignature:
    """Read what a client puts for a manifest; raise SignatureInvalid for what is not a signature of it."""
    try:
        document = json.loads(raw)
        name, kind, version = document["name"], document["type"], document["schemaVersion"]
        content = base64.b64decode(document["content"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise SignatureInvalid(f"not a signature object: {type(error).__name__}") from None
    match = _FORM.fullmatch(name) if isinstance(name, str) else None
    if kind != "atomic" or version != 2 or match is None or match[1] != digest:
        raise SignatureInvalid(f"expected an atomic signature, schema version 2, named {digest}@ and 32 hex digits")
    about(literal_of(content), digest)
    return AtomicSignature(name, content)


def about(payload: bytes, digest: Digest) -> str:
    """Return the reference that a signed text vouches for; raise SignatureInvalid when it is not about the digest."""
    try:
        critical = json.loads(payload)["critical"]
        kind, named = critical["type"], critical["image"]["docker-manifest-digest"]
        reference = str(critical["identity"]["docker-reference"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SignatureInvalid("the signed text is no simple signing payload") from None
    if kind != _TYPE or named != digest:
        raise SignatureInvalid(f"the signed text is about {str(named)[:100]!r}, not about {digest}")
    return reference


def pack_atomic(store: MemoryStore, signature: AtomicSignature, subject: Manifest) -> Manifest:
    """Put a signature into the store as an artifact that refers to its manifest."""
    return pack_artifact(
        store, ATOMIC, [(ATOMIC, signature.content)], subject=subject, annotations={_NAME: signature.name}
    )


def name_of(manifest: Manifest) -> str:
    """Return the name of the signature that an artifact holds."""
    return manifest.annotations.get(_NAME, "")
