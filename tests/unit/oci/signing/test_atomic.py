"""Atomic signatures: what is read as one, and what a signed text vouches for."""

import base64
import json

import pytest

from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.signing.atomic import ATOMIC, AtomicSignature, about, name_of, pack_atomic, parse_atomic
from oci.signing.pgp_messages import SignatureInvalid

DIGEST = Digest.of(b"manifest")
NAME = f"{DIGEST}@{'0' * 32}"


def payload(digest: str = DIGEST, kind: str = "atomic container signature") -> dict[str, object]:
    identity = {"docker-reference": "registry.example/team/app:v1"}
    return {"critical": {"type": kind, "image": {"docker-manifest-digest": digest}, "identity": identity}}


def test_a_signed_text_vouches_for_a_reference() -> None:
    assert about(json.dumps(payload()).encode(), DIGEST) == "registry.example/team/app:v1"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (payload(Digest.of(b"other")), "not about"),
        (payload(kind="something else"), "not about"),
        ({"critical": {"type": "atomic container signature"}}, "no simple signing payload"),
        ([], "no simple signing payload"),
        ({"critical": None}, "no simple signing payload"),
    ],
)
def test_a_text_about_something_else_is_no_signature(document: object, reason: str) -> None:
    with pytest.raises(SignatureInvalid, match=reason):
        about(json.dumps(document).encode(), DIGEST)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schemaVersion": 1}, "schema version 2"),
        ({"type": "x509"}, "schema version 2"),
        ({"name": f"{Digest.of(b'other')}@{'0' * 32}"}, "schema version 2"),
        ({"name": f"{DIGEST}@../../etc/passwd"}, "schema version 2"),
        ({"name": 7}, "schema version 2"),
        ({"content": "not base64!"}, "not a signature object"),
        ({"content": None}, "not a signature object"),
    ],
)
def test_an_object_of_another_form_is_refused(changes: dict[str, object], reason: str) -> None:
    document = {**AtomicSignature(NAME, b"signed").to_json(), **changes}
    with pytest.raises(SignatureInvalid, match=reason):
        parse_atomic(json.dumps(document).encode(), DIGEST)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b"[" * 100_000])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="not a signature object"):
        parse_atomic(raw, DIGEST)


def test_a_signature_is_packed_as_a_referrer_and_keeps_its_name() -> None:
    store = MemoryStore()
    subject = pack_image(store, [{"file": "signed"}])
    signature = AtomicSignature(NAME, b"signed")
    packed = pack_atomic(store, signature, subject)
    assert packed.subject is not None
    assert (packed.subject.digest, packed.artifact_type, name_of(packed)) == (subject.digest, ATOMIC, NAME)
    assert store.blobs[packed.layers[0].digest] == b"signed"
    assert base64.b64decode(str(signature.to_json()["content"])) == b"signed"
