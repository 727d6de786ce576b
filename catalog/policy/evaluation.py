"""The decision of a policy over (policy, name, evidence, now): pure, the same for the same values.

1. Rule: the first rule whose paths the repository fits; without one, the default. A rule that allows or denies ends here.
2. Evidence: what lies beside the manifest. Source: cosign SIGNATURE_SPEC, ATTESTATION_SPEC and BUNDLE_SPEC; distribution-spec
   1.1, "Listing Referrers"; containers/image, docs/atomic-signature.md.
3. Signatures: each is parsed, is about this manifest, and is by a signer of the rule. Source: DSSE 1.0; in-toto Statement v1;
   sigstore client specification, 4 (chain, time, log, identity); RFC 9580. See `signature_checks`.
4. Requirements: each names signers, a threshold, names, times and content; all must be satisfied.
5. Index: where the rule says so, an index that lists the manifest, and satisfies steps 2 to 4 itself, covers it.
6. Decision. What could not be checked for a technical reason is no reason to allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from catalog.policy.document import PolicyRule, TrustPolicy
from catalog.policy.evidence import Evidence
from catalog.policy.explanation import Outcome, PolicyDecision, PolicyStep, SignatureVerdict, StepResult
from catalog.policy.requirements import PulledName, RequirementResult, judge_attestations, judge_signatures
from catalog.policy.signature_checks import CheckedSignature, TrustRoots, check_signature
from oci.digest import Digest
from oci.unicode import clean_text

_LONGEST_NAME, _LONGEST_REASON = 300, 1000
"""Characters that are told of what a signature says, which is the text of whoever made it, or of a stranger."""

_RULE = "docs/trust.md, rules"
_EVIDENCE = "cosign SIGNATURE_SPEC, ATTESTATION_SPEC, BUNDLE_SPEC; distribution-spec 1.1; atomic-signature"
_SIGNATURES = "DSSE 1.0; in-toto Statement v1; sigstore client specification 4; RFC 9580"
_INDEX = "image-spec, image-index; docs/trust.md, indexes"


@dataclass(frozen=True, slots=True)
class _Judged:
    """One manifest by the requirements of a rule."""

    results: tuple[tuple[str, RequirementResult], ...]
    checked: tuple[CheckedSignature, ...]
    verdicts: tuple[SignatureVerdict, ...]

    @property
    def satisfied(self) -> bool:
        return all(one.satisfied for _, one in self.results)

    @property
    def is_undecidable(self) -> bool:
        return not self.satisfied and any(one.is_technical for one in self.checked)

    @property
    def holds_until(self) -> datetime | None:
        ends = [one.holds_until for _, one in self.results if one.holds_until is not None]
        return min(ends) if ends else None


def evaluate_policy(
    policy: TrustPolicy,
    repository: str,
    evidence: Evidence,
    now: datetime,
    *,
    trust: TrustRoots,
    name: str = "",
    tag: str = "",
) -> PolicyDecision:
    """Decide about a manifest of a repository; `name` is the policy's, `tag` the one that the manifest is pulled by."""
    found = policy.rule_of(repository)
    digest = evidence.digest

    def decided(
        outcome: Outcome,
        reason: str,
        steps: Sequence[PolicyStep],
        judged: _Judged | None = None,
        ends: datetime | None = None,
    ) -> PolicyDecision:
        last = PolicyStep(
            "6", "decision", _RULE, "passed" if outcome == "allowed" else "failed", f"{outcome}: {reason}"
        )
        return PolicyDecision(
            repository, digest, outcome, reason, name, policy.digest, evidence.fingerprint, (*steps, last),
            judged.verdicts if judged else (), ends,
        )  # fmt: skip

    if found is None:
        step = _step("1", "rule", _RULE, policy.default == "allow", f"no rule fits {repository}; the default decides")
        return decided("allowed" if policy.default == "allow" else "denied", step.detail, [step])
    number, rule = found
    if rule.action != "verify":
        step = _step(
            "1", "rule", _RULE, rule.action == "allow", f"rule {number} fits {repository} and says {rule.action}"
        )
        return decided("allowed" if rule.action == "allow" else "denied", step.detail, [step])
    pulled = PulledName(policy.registry, repository, digest, tag)
    judged = _judge_manifest(policy, rule, evidence, pulled, now, trust)
    steps = [_step("1", "rule", _RULE, True, f"rule {number} fits {repository}"), *_steps_of(evidence, judged)]
    if judged.satisfied:
        return decided("allowed", f"rule {number} is satisfied", steps, judged, judged.holds_until)
    covering, is_undecidable = _covering(policy, rule, evidence, pulled, now, trust)
    steps.append(_index_step(rule, evidence, covering))
    if covering is not None:
        reason = f"rule {number} is satisfied by the index {covering[0]}, which lists it"
        return decided("allowed", reason, steps, judged, covering[1].holds_until)
    return decided(*_refusal(number, evidence, judged, is_undecidable), steps, judged)


def _refusal(number: int, evidence: Evidence, judged: _Judged, is_undecidable: bool) -> tuple[Outcome, str]:
    missing = "; ".join(f"{title}: {one.detail}" for title, one in judged.results if not one.satisfied)
    technical = [one.fault for one in judged.checked if one.is_technical]
    if technical or is_undecidable:
        told = technical[0] if technical else "an index that lists the manifest could not be checked"
        return "undecidable", f"rule {number} could not be checked: {clean_text(told, longest=_LONGEST_REASON)}"
    if not evidence.items:
        return "not-signed", f"rule {number} is not satisfied: no signature and no attestation lies beside the manifest"
    return "not-satisfied", f"rule {number} is not satisfied: {missing}"


def _judge_manifest(
    policy: TrustPolicy, rule: PolicyRule, evidence: Evidence, pulled: PulledName, now: datetime, trust: TrustRoots
) -> _Judged:
    names = {name for one in rule.signatures for name in one.signers}
    names |= {name for one in rule.attestations for name in one.signers}
    signers = {name: policy.signers[name] for name in sorted(names)}
    checked = tuple(check_signature(item, evidence.digest, signers, trust) for item in evidence.items)
    results = [
        (f"signatures {number}", judge_signatures(one, checked, pulled, now))
        for number, one in enumerate(rule.signatures, 1)
    ] + [
        (f"attestations {number}", judge_attestations(one, checked, now))
        for number, one in enumerate(rule.attestations, 1)
    ]
    return _Judged(tuple(results), checked, tuple(_verdict(one, [result for _, result in results]) for one in checked))


def _verdict(one: CheckedSignature, results: Sequence[RequirementResult]) -> SignatureVerdict:
    accepted = any(one.digest in result.accepted for result in results)
    told = [result.reasons[one.digest] for result in results if one.digest in result.reasons]
    step, reason = max(told) if told else (one.step, one.fault or "no requirement names its type")
    return SignatureVerdict(
        form=one.form,
        origin=one.origin,
        says=one.says,
        predicate_type=clean_text(one.predicate_type, longest=_LONGEST_NAME),
        accepted=accepted,
        signers=tuple(dict.fromkeys(maker.signer for maker in one.made_by)),
        by=tuple(dict.fromkeys(clean_text(maker.shown, longest=_LONGEST_REASON) for maker in one.made_by)),
        name=clean_text(one.name, longest=_LONGEST_NAME),
        made_at=one.made_at,
        clock=one.clock,
        step=4 if accepted else step,
        reason="it counts" if accepted else clean_text(reason, longest=_LONGEST_REASON),
        is_technical=one.is_technical,
    )


def _covering(
    policy: TrustPolicy, rule: PolicyRule, evidence: Evidence, pulled: PulledName, now: datetime, trust: TrustRoots
) -> tuple[tuple[Digest, _Judged] | None, bool]:
    """Return the first index that lists the manifest and satisfies the rule; and whether one could not be checked."""
    is_undecidable = False
    if rule.index != "covers-children":
        return None, False
    for parent in evidence.parents:
        if evidence.digest not in parent.children:
            continue
        through = replace(pulled, digest=parent.digest)
        judged = _judge_manifest(policy, rule, parent, through, now, trust)
        if judged.satisfied:
            return (parent.digest, judged), False
        is_undecidable = is_undecidable or judged.is_undecidable
    return None, is_undecidable


def _steps_of(evidence: Evidence, judged: _Judged) -> list[PolicyStep]:
    forms = [one.form for one in evidence.items]
    counts = ", ".join(f"{forms.count(form)} {form}" for form in sorted(set(forms))) or "none"
    steps = [_step("2", "evidence", _EVIDENCE, bool(forms), f"beside the manifest: {counts}")]
    for number, one in enumerate(judged.verdicts, 1):
        told = f"{one.form} in {one.origin}: {one.reason}" + (f", by {', '.join(one.signers)}" if one.accepted else "")
        steps.append(_step(f"3.{number}", one.says, _SIGNATURES, one.accepted, told))
    for number, (title, result) in enumerate(judged.results, 1):
        steps.append(_step(f"4.{number}", title, _RULE, result.satisfied, result.detail))
    return steps


def _index_step(rule: PolicyRule, evidence: Evidence, covering: tuple[Digest, _Judged] | None) -> PolicyStep:
    if rule.index != "covers-children":
        return PolicyStep("5", "index", _INDEX, "skipped", "by the rule, each manifest must satisfy it")
    if covering is None:
        return _step(
            "5", "index", _INDEX, False, f"none of {len(evidence.parents)} indexes that list it satisfies the rule"
        )
    return _step("5", "index", _INDEX, True, f"the index {covering[0]} lists it and satisfies the rule")


def _step(number: str, title: str, source: str, passed: bool, detail: str) -> PolicyStep:
    result: StepResult = "passed" if passed else "failed"
    return PolicyStep(number, title, source, result, detail)
