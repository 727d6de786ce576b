"""Reading a document's bytes as JSON, taking off what it is wrapped in, and what an index says that it is about."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from oci.digest import Digest

DEEP = 6
"""Wrappings around a document at most: a bundle, its envelope, a statement, the document, and some."""


class Unwrapped(NamedTuple):
    """What was within bundles and envelopes, and how many signatures the envelope has. None of them is verified."""

    document: object
    signatures: int


def load_json(raw: bytes | str) -> object:
    """Return a document, None for what is no JSON or is nested too deep. Pure."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def load_payload(text: str) -> object:
    """Return the document in an envelope's payload, None for none. Pure."""
    try:
        return load_json(base64.b64decode(text))
    except (ValueError, binascii.Error):
        return None


def unwrap(document: object) -> Unwrapped:
    """Return what a sigstore bundle or a DSSE envelope holds, a document without them as it is. Pure."""
    signatures = 0
    for _ in range(DEEP):
        if not isinstance(document, dict) or "predicateType" in document:
            break
        if isinstance(document.get("dsseEnvelope"), dict):
            document = document["dsseEnvelope"]
        elif isinstance(document.get("payload"), str):
            found = document.get("signatures")
            signatures = len(found) if isinstance(found, list) else 0
            document = load_payload(document["payload"])
        else:
            break
    return Unwrapped(document, signatures)


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def described_image(annotations: Mapping[str, str]) -> Digest | None:
    """Return the image that an attestation manifest in an index is about, by the annotations of its descriptor. Pure.

    Source: BuildKit, attestation storage.
    """
    text = annotations.get("vnd.docker.reference.digest", "")
    return Digest(text) if _DIGEST.fullmatch(text) else None
