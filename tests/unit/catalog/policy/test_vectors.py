"""Vectors of trust, made by `tests/trust_vectors.py`: every flaw is refused for its own reason, and what has none is allowed."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.policy.document import make_policy, parse_policy
from catalog.policy.evaluation import evaluate_policy
from catalog.policy.evidence import Evidence, EvidenceItem
from catalog.policy.explanation import PolicyDecision
from catalog.policy.trust_roots import TrustCache
from oci.digest import Digest
from oci.errors import InvalidInput
from oci.signing.keyless import load_trust
from tests.servers import ROOT
from tests.trust_vectors import ORIGIN

FOLDER = ROOT / "tests" / "vectors" / "trust"
POLICIES = sorted(FOLDER.glob("policy-*"))
VECTORS = sorted(set(FOLDER.glob("*.json")) - set(POLICIES) - {FOLDER / "trust-config.json"})
TRUST = TrustCache(lambda: load_trust((FOLDER / "trust-config.json").read_text(), where="vectors"))


def read_items(found: list[dict[str, Any]]) -> tuple[EvidenceItem, ...]:
    return tuple(
        EvidenceItem(
            one["form"], ORIGIN, base64.b64decode(one["content"]), one["annotations"], problem=one.get("problem", "")
        )
        for one in found
    )


def read_case(file: Path) -> tuple[dict[str, Any], Evidence]:
    vector = json.loads(file.read_text())
    parents = tuple(
        Evidence(Digest(one["digest"]), read_items(one["evidence"]), frozenset(one["children"]))
        for one in vector.get("parents", ())
    )
    return vector, Evidence(Digest(vector["digest"]), read_items(vector["evidence"]), frozenset(), parents)


def decide(vector: dict[str, Any], evidence: Evidence) -> PolicyDecision:
    policy = make_policy(vector["policy"], where="vector")
    now = datetime.fromisoformat(vector["now"])
    return evaluate_policy(policy, vector["repository"], evidence, now, trust=TRUST, tag=vector["tag"])


@pytest.mark.parametrize("file", VECTORS, ids=lambda file: file.stem)
def test_a_vector_is_decided_for_its_reason(file: Path) -> None:
    vector, evidence = read_case(file)
    decision = decide(vector, evidence)
    told = " ".join([decision.reason, *(one.reason for one in decision.signatures)])
    assert (decision.outcome, vector["reason"] in told) == (vector["outcome"], True), told
    assert decision == decide(vector, evidence)
    assert json.loads(json.dumps(decision.to_json()))["outcome"] == vector["outcome"]
    if file.stem.startswith("valid"):
        assert decision.is_allowed


def test_there_are_valid_vectors_of_each_form_and_flaws_of_each_kind() -> None:
    cases = [json.loads(file.read_text()) for file in VECTORS]
    forms = {one["form"] for case in cases if case["outcome"] == "allowed" for one in case["evidence"]}
    assert forms == {"cosign", "bundle", "atomic"}
    assert {case["outcome"] for case in cases} == {"allowed", "not-signed", "not-satisfied", "undecidable"}


@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.name)
def test_a_policy_with_a_flaw_is_refused_for_its_reason(file: Path) -> None:
    reason = file.read_text().partition("refused: ")[2].splitlines()[0].partition('",')[0]
    with pytest.raises(InvalidInput) as refused:
        parse_policy(file.read_bytes(), where=file.name)
    assert reason in refused.value.message


def meaning_of(raw: bytes) -> tuple[object, ...] | None:
    """What a bundle says: the type, the payload, and what has signed it; None for what is none."""
    try:
        document = json.loads(raw)
        envelope, material = document["dsseEnvelope"], document["verificationMaterial"]
        signatures = [base64.b64decode(one["sig"]) for one in envelope["signatures"]]
        return envelope["payloadType"], base64.b64decode(envelope["payload"]), signatures, sorted(material.keys())
    except (ValueError, KeyError, TypeError):
        return None


@pytest.mark.parametrize(("name", "step"), [("valid-bundle", 1), ("valid-identity", 13)])
def test_a_bundle_with_any_byte_flipped_does_not_verify_unless_it_says_the_same(name: str, step: int) -> None:
    """What may be flipped: names of keys that no verifier reads, the hint of the key, and base64's unused bits."""
    vector, evidence = read_case(FOLDER / f"{name}.json")
    (whole,) = evidence.items
    same = 0
    for place in range(0, len(whole.content), step):
        altered = bytearray(whole.content)
        altered[place] ^= 1
        flipped = Evidence(evidence.digest, (EvidenceItem("bundle", ORIGIN, bytes(altered)),))
        if decide(vector, flipped).is_allowed:
            said = meaning_of(bytes(altered))
            assert said is not None
            assert said[:3] == meaning_of(whole.content)[:3], place  # type: ignore[index]  # it is a bundle
            same += 1
    assert same < len(whole.content) / step / 4


@pytest.mark.parametrize("form", ["cosign", "bundle", "atomic", "attestation"])
@pytest.mark.parametrize("garbage", [b"\0" * 10_000_000, b"[" * 10_000_000, b'{"a":' * 2_000_000, b"\xc3" * 10_000_000])
def test_ten_megabytes_of_garbage_are_no_signature(form: str, garbage: bytes) -> None:
    vector, _ = read_case(FOLDER / "valid-under-tag.json")
    annotations = {"dev.cosignproject.cosign/signature": "AAAA"}
    item = EvidenceItem(form, ORIGIN, garbage, annotations)  # type: ignore[arg-type]  # one of the forms
    decision = decide(vector, Evidence(Digest(vector["digest"]), (item,)))
    assert decision.outcome == "not-satisfied"
    assert decision.signatures[0].step == 1
