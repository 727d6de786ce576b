"""Decisions over values: rules by path, thresholds, names, times, conditions, and what is undecidable."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from catalog.policy.document import FixedName, TimeBounds, make_policy
from catalog.policy.evaluation import evaluate_policy
from catalog.policy.evidence import Evidence, EvidenceItem
from catalog.policy.requirements import PulledName, name_fault, point_at, time_fault
from catalog.policy.signature_checks import CheckedSignature
from catalog.policy.signature_makers import SignatureMaker, count_signers
from oci.digest import Digest
from tests.trust import Key, attested, decide, no_trust, policy, signed
from tests.trust_vectors import ORIGIN, REPOSITORY

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DIGEST = Digest.of(b"image")
KEYS = {name: Key() for name in ("a", "b", "c")}
SIGNERS = {name: key.entry for name, key in KEYS.items()}
SLSA = "https://slsa.dev/provenance/v1"


@pytest.mark.parametrize(
    ("threshold", "by", "allowed"),
    [
        ("any", "a", True),
        ("any", "", False),
        (2, "a", False),
        (2, "ac", True),
        ("all", "ab", False),
        ("all", "abc", True),
        (2, "aa", False),
    ],
)
def test_a_threshold_counts_different_signers(threshold: object, by: str, allowed: bool) -> None:
    items = [signed(KEYS[name], DIGEST, f"name-{place}") for place, name in enumerate(by)]
    decision = decide(policy(SIGNERS, threshold=threshold), DIGEST, *items, now=NOW)
    assert decision.is_allowed == allowed
    assert decision.outcome == ("allowed" if allowed else "not-satisfied" if by else "not-signed")


def test_a_signature_that_fits_two_patterns_is_one_signer() -> None:
    def count(*pairs: tuple[str, str]) -> int:
        return count_signers(SignatureMaker(name, who, frozenset({who})) for name, who in pairs)

    assert count(("broad", "x of i"), ("narrow", "x of i")) == 1
    assert count(("broad", "x of i"), ("narrow", "x of i"), ("broad", "y of i")) == 2
    assert count(("a", "1"), ("b", "1"), ("b", "2"), ("c", "2"), ("c", "3")) == 3
    assert count() == 0


def test_the_first_rule_that_fits_decides_then_the_default() -> None:
    made = make_policy(
        {
            "version": 1,
            "signers": {"a": SIGNERS["a"]},
            "default": "deny",
            "rules": [
                {"paths": ["free/**"], "action": "allow"},
                {"paths": ["free/**", "gone"], "action": "deny"},
                {"paths": ["team/*"], "signatures": [{"signers": ["a"]}]},
            ],
        },
        where="test",
    )
    for repository, outcome in (
        ("free/x", "allowed"),
        ("gone", "denied"),
        ("team/app", "not-signed"),
        ("team/a/b", "denied"),
    ):
        found = evaluate_policy(made, repository, Evidence(DIGEST), NOW, trust=no_trust, name="p")
        assert (found.outcome, found.policy, found.policy_digest) == (outcome, "p", made.digest)


def test_the_digest_is_of_the_meaning_not_of_the_text() -> None:
    one = make_policy(
        {"version": 1, "signers": {"a": {"keys": [KEYS["a"].pem + "\n\n"]}}, "default": "deny"}, where="x"
    )
    same = make_policy({"version": 1, "rules": [], "signers": {"a": SIGNERS["a"]}}, where="y")
    other = make_policy({"version": 1, "signers": {"a": SIGNERS["a"]}, "default": "allow"}, where="z")
    assert one.digest == same.digest != other.digest


def test_one_bad_signature_spoils_no_other_and_a_technical_fault_is_told_apart() -> None:
    made = policy(SIGNERS)
    broken = EvidenceItem("unreadable", ORIGIN, problem="the store does not respond")
    bad = EvidenceItem("cosign", ORIGIN, b"{}")
    assert decide(made, DIGEST, broken, bad, signed(KEYS["b"], DIGEST), now=NOW).is_allowed
    refused = decide(made, DIGEST, broken, bad, now=NOW)
    assert (refused.outcome, "the store does not respond" in refused.reason) == ("undecidable", True)
    assert decide(made, DIGEST, bad, now=NOW).outcome == "not-satisfied"


def test_without_a_trust_configuration_nothing_by_a_certificate_is_decided() -> None:
    kind = b"application/vnd.dev.sigstore.bundle.v0.3+json"
    raw = b'{"mediaType":"%s","verificationMaterial":{"certificate":{}},"dsseEnvelope":' % kind
    envelope = attested(KEYS["a"], DIGEST, "https://sigstore.dev/cosign/sign/v1", {}).content.partition(
        b'"dsseEnvelope":'
    )[2]
    item = EvidenceItem("bundle", ORIGIN, raw + envelope)
    made = policy({"ci": {"identity": "x@example.org", "issuer": "https://issuer.example"}})
    decision = decide(made, DIGEST, item, now=NOW)
    assert (decision.outcome, "trust configuration cannot be had: no network" in decision.reason) == (
        "undecidable",
        True,
    )
    assert decide(policy(SIGNERS), DIGEST, item, now=NOW).outcome == "not-satisfied"  # which asks for no trust


@pytest.mark.parametrize(
    ("fields", "predicate", "reason"),
    [
        ({"builders": ["b1", "b2"]}, {"runDetails": {"builder": {"id": "b2"}}}, ""),
        ({"builders": ["b1"]}, {"builder": {"id": "b1"}}, ""),  # v0.2
        ({"builders": ["b1"]}, {"runDetails": {"builder": {"id": "b1/"}}}, "its builder is 'b1/'"),
        ({"builders": ["b1"]}, {}, "its builder is missing"),
        (
            {"sources": ["https://x/a"]},
            {"buildDefinition": {"externalParameters": {"workflow": {"repository": "https://x/a"}}}},
            "",
        ),
        (
            {"sources": ["https://x/a"]},
            {"invocation": {"configSource": {"uri": "git+https://x/a@refs/heads/main"}}},
            "",
        ),
        (
            {"sources": ["https://x/a"]},
            {"buildDefinition": {"resolvedDependencies": [{"uri": "git+https://x/a@m"}]}},
            "its source is missing",
        ),
        ({"conditions": [{"field": "/a/0/b", "equals": 1}]}, {"a": [{"b": 1}]}, ""),
        ({"conditions": [{"field": "/a/0/b", "equals": 1}]}, {"a": [{"b": True}]}, "its /a/0/b is True"),
        ({"conditions": [{"field": "/a", "one_of": ["x", "y"]}]}, {"a": "z"}, "its /a is 'z'"),
        ({"conditions": [{"field": "/a~1b", "present": True}]}, {"a/b": 0}, ""),
        ({"conditions": [{"field": "/a", "present": True}]}, {"a": None}, "it has no /a"),
    ],
)
def test_what_an_attestation_must_state(fields: dict[str, object], predicate: dict[str, object], reason: str) -> None:
    rule = {"signatures": [], "attestations": [{"type": "slsa", "signers": ["a"], **fields}]}
    decision = decide(
        policy({"a": SIGNERS["a"]}, rule=rule), DIGEST, attested(KEYS["a"], DIGEST, SLSA, predicate), now=NOW
    )
    assert decision.is_allowed == (reason == "")
    assert reason in decision.signatures[0].reason


def test_an_attestation_is_no_signature_and_types_have_families() -> None:
    item = attested(KEYS["a"], DIGEST, SLSA, {})
    assert decide(policy(SIGNERS), DIGEST, item, now=NOW).outcome == "not-satisfied"
    for kind, wanted, allowed in (
        ("https://spdx.dev/Document/v2.3", "spdx", True),
        ("https://spdx.dev/DocumentX", "spdx", False),
        ("https://cyclonedx.org/bom", "cyclonedx", True),
        ("https://openvex.dev/ns/v0.2.0", "vex", True),
        ("https://e.org/x", "https://e.org/x", True),
        ("https://e.org/x/y", "https://e.org/x", False),
    ):
        made = policy(
            {"a": SIGNERS["a"]}, rule={"signatures": [], "attestations": [{"type": wanted, "signers": ["a"]}]}
        )
        assert decide(made, DIGEST, attested(KEYS["a"], DIGEST, kind, {}), now=NOW).is_allowed == allowed


def test_an_index_covers_its_children_only_if_the_rule_says_so() -> None:
    index = Digest.of(b"index")
    parent = Evidence(index, (signed(KEYS["a"], index),), frozenset({DIGEST}))
    unsigned = Evidence(Digest.of(b"other index"), (), frozenset({DIGEST}))
    for mode, allowed in (("each", False), ("covers-children", True)):
        made = policy(SIGNERS, rule={"index": mode})
        assert decide(made, DIGEST, now=NOW, parents=(unsigned, parent)).is_allowed == allowed
        assert not decide(made, DIGEST, now=NOW, parents=(unsigned,)).is_allowed
        assert decide(made, index, *parent.items, now=NOW).is_allowed
    broken = replace(parent, items=(EvidenceItem("unreadable", ORIGIN, problem="gone"),))
    assert (
        decide(policy(SIGNERS, rule={"index": "covers-children"}), DIGEST, now=NOW, parents=(broken,)).outcome
        == "undecidable"
    )


BASE = PulledName("r.example:5000", REPOSITORY, DIGEST)
TAGGED = replace(BASE, tag="v1")


@pytest.mark.parametrize(
    ("rule", "signed_name", "pulled", "fits"),
    [
        ("any", "", BASE, True),
        ("repository", "r.example:5000/team/app", BASE, True),
        ("repository", "r.example:5000/team/app:v9", BASE, True),
        ("repository", "r.example:5000/team/app2", BASE, False),
        ("repository", "r.example/team/app", BASE, False),
        ("repository", "", BASE, False),
        ("reference", "r.example:5000/team/app:v1", TAGGED, True),
        ("reference", "r.example:5000/team/app:v2", TAGGED, False),
        ("reference", "r.example:5000/team/app:v1", BASE, False),
        ("reference", f"r.example:5000/team/app@{DIGEST}", BASE, True),
        ("digest-or-reference", "r.example:5000/team/app:v9", BASE, True),
        ("digest-or-reference", "r.example:5000/team/app:v9", TAGGED, False),
        (FixedName(repository="quay.io/x/y"), "quay.io/x/y:1", TAGGED, True),
        (FixedName(repository="quay.io/x/y"), "quay.io/x/yz", TAGGED, False),
        (FixedName(reference="quay.io/x/y:1"), "quay.io/x/y:1", BASE, True),
        (FixedName(reference="quay.io/x/y:1"), "quay.io/x/y:2", BASE, False),
        (FixedName(prefix="r.example:5000/team", signed_prefix="quay.io/t"), "quay.io/t/app:v1", TAGGED, True),
        (
            FixedName(prefix="r.example:5000/team", signed_prefix="quay.io/t"),
            "r.example:5000/team/app:v1",
            TAGGED,
            False,
        ),
        (FixedName(prefix="r.example:5000/tea", signed_prefix="quay.io/t"), "quay.io/tm/app:v1", TAGGED, False),
    ],
)
def test_names_are_compared_as_containers_does(
    rule: FixedName | str, signed_name: str, pulled: PulledName, fits: bool
) -> None:
    assert (name_fault(rule, signed_name, pulled) == "") == fits


def test_times_bound_what_is_signed_and_a_time_in_the_future_counts_never() -> None:
    made = CheckedSignature("bundle", ORIGIN, "x", made_at=NOW - timedelta(days=10), clock="log")
    for bounds, fits in (
        (TimeBounds(), True),
        (TimeBounds(max_age="30d"), True),
        (TimeBounds(max_age="9d"), False),
        (TimeBounds(not_before=NOW - timedelta(days=11)), True),
        (TimeBounds(not_before=NOW - timedelta(days=9)), False),
        (TimeBounds(not_after=NOW - timedelta(days=11)), False),
    ):
        assert (time_fault(bounds, made, NOW) == "") == fits
    assert time_fault(TimeBounds(), replace(made, made_at=NOW + timedelta(minutes=6)), NOW).startswith(
        "it was made in the future"
    )
    assert time_fault(TimeBounds(max_age="1d"), replace(made, made_at=None), NOW).startswith("it has no signed time")
    assert time_fault(TimeBounds(), replace(made, made_at=None), NOW) == ""


def test_pointers_are_those_of_rfc_6901() -> None:
    document = {"a": {"": 1, "x/y": [2, 3], "m~n": 4}}
    assert [point_at(document, one) for one in ("/a/", "/a/x~1y/1", "/a/m~0n")] == [1, 3, 4]
    missing = point_at(document, "/b")
    assert all(point_at(document, one) is missing for one in ("/a/x~1y/01", "/a/x~1y/2", "/a/x~1y/-", "/a//x"))


def test_a_second_key_of_one_signer_under_another_name_is_refused() -> None:
    with pytest.raises(Exception, match="are the same one"):
        policy({"a": SIGNERS["a"], "again": SIGNERS["a"]})


def test_what_strangers_have_written_is_told_short_and_on_one_line() -> None:
    spoiling = "x\x1b[2J\n\ud800" + "y" * 5000
    items = [signed(Key(), DIGEST, spoiling), attested(Key(), DIGEST, spoiling, {})]
    wanted = [{"type": "slsa", "signers": ["a"]}]
    decision = decide(policy(SIGNERS, name="repository", rule={"attestations": wanted}), DIGEST, *items, now=NOW)
    items = [signed(KEYS["a"], DIGEST, spoiling), attested(KEYS["a"], DIGEST, spoiling, {})]
    known = decide(policy(SIGNERS, name="repository", rule={"attestations": wanted}), DIGEST, *items, now=NOW)
    for found in (decision, known):
        told = json.dumps(found.to_json(), ensure_ascii=False)
        assert not any(part in told for part in ("\x1b", "\\u001b", "\\n", "\ud800"))
        assert max(len(one.detail) for one in found.steps) < 2000
        assert max(len(one.predicate_type) for one in found.signatures) < 400  # escapes are longer
