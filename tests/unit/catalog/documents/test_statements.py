"""Statements of provenance in every form, and what is none; whatever is in them, little comes out."""

import base64
import json

import pytest

from catalog.documents.statements import MOST_MATERIALS, provenance_in
from oci.digest import Digest

DIGEST = Digest.of(b"image")
SUBJECT = [{"name": "x", "digest": {"sha256": DIGEST.encoded}}]


def envelope(statement: object) -> dict[str, object]:
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    return {"payloadType": "application/vnd.in-toto+json", "payload": payload, "signatures": [{}, {}]}


V1 = {
    "predicateType": "https://slsa.dev/provenance/v1",
    "subject": SUBJECT,
    "predicate": {
        "buildDefinition": {
            "buildType": "type",
            "externalParameters": {"source": {"uri": "git+https://a/b", "digest": {"gitCommit": "0f"}}},
            "resolvedDependencies": [{"uri": "pkg:docker/x", "digest": {"sha256": "ab"}}],
        },
        "runDetails": {"builder": {"id": "builder"}, "metadata": {"invocationId": "run"}},
    },
}
V02 = {
    "predicateType": "https://slsa.dev/provenance/v0.2",
    "subject": SUBJECT,
    "predicate": {
        "builder": {"id": "builder"},
        "buildType": "type",
        "invocation": {"configSource": {"uri": "git+https://a/b", "digest": {"gitCommit": "0f"}, "entryPoint": "main"}},
        "metadata": {"buildInvocationID": "run"},
        "materials": [{"uri": "pkg:docker/x", "digest": {"sha256": "ab"}}],
    },
}


@pytest.mark.parametrize("document", [V1, V02, envelope(V1), {"dsseEnvelope": envelope(V02)}])
def test_provenance_is_read_in_every_form(document: object) -> None:
    found = provenance_in(document, DIGEST)
    assert found is not None
    assert (found.builder, found.build_type, found.source, found.source_digest) == (
        "builder", "type", "git+https://a/b", "gitCommit:0f",
    )  # fmt: skip
    assert (found.is_about, found.invocation, [one.digest for one in found.materials]) == (True, "run", ["sha256:ab"])


def test_signatures_are_counted_and_other_subjects_told() -> None:
    found = provenance_in(envelope({**V1, "subject": [{"digest": {"sha256": "00"}}, 7, None]}), DIGEST)
    assert found is not None
    assert (found.signatures, found.is_about) == (2, False)


@pytest.mark.parametrize(
    "document",
    [None, [], "text", {}, {"payload": "%%"}, {"payload": "AA=="}, {"predicateType": 3, "predicate": {}},
     {"predicateType": "https://slsa.dev/provenance/v1", "predicate": []}, {"predicateType": "https://spdx.dev/Document"}],
)  # fmt: skip
def test_what_is_no_provenance_is_none(document: object) -> None:
    assert provenance_in(document, DIGEST) is None


@pytest.mark.parametrize("value", [7, None, [], ["x"], {"id": {}}, {"id": "x" * 10**6}, {"id": "a\u202eb\nc"}])
def test_odd_values_are_texts_of_bounded_length(value: object) -> None:
    predicate = {"buildDefinition": value, "runDetails": {"builder": value, "metadata": value}, "materials": value}
    found = provenance_in({"predicateType": V1["predicateType"], "predicate": predicate, "subject": value}, DIGEST)
    assert found is not None
    assert len(found.builder) <= 1000
    assert found.builder.isprintable()


def test_many_materials_are_counted_and_cut() -> None:
    predicate = {"materials": [{"uri": f"pkg:a/{number}"} for number in range(1000)]}
    found = provenance_in({"predicateType": V02["predicateType"], "predicate": predicate}, DIGEST)
    assert found is not None
    assert (len(found.materials), found.total_materials) == (MOST_MATERIALS, 1000)
