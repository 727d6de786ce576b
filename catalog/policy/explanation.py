"""What a policy says about a manifest: the decision, numbered steps with their sources, and a verdict on each signature."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from catalog.units import format_time

StepResult = Literal["passed", "failed", "skipped"]
Outcome = Literal["allowed", "denied", "not-signed", "not-satisfied", "undecidable"]
"""`denied`: a rule, or the default, says so. `not-signed`: nothing vouches for the manifest. `not-satisfied`: something does, but
not as required. `undecidable`: something could not be checked, for a reason that lies not with the signature."""


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """A step of an evaluation; `source` names the specification that it follows."""

    number: str
    title: str
    source: str
    result: StepResult
    detail: str


@dataclass(frozen=True, slots=True)
class SignatureVerdict:
    """One signature or attestation: whether it counts, for which signers, else at which step it fails and why."""

    form: str
    origin: str
    says: str
    predicate_type: str
    accepted: bool
    signers: tuple[str, ...]
    by: tuple[str, ...]
    name: str
    made_at: datetime | None
    clock: str
    step: int
    reason: str
    is_technical: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it for the API and for `--json`."""
        return {
            "form": self.form,
            "manifest": self.origin,
            "says": self.says,
            "predicate_type": self.predicate_type,
            "accepted": self.accepted,
            "signers": list(self.signers),
            "by": list(self.by),
            "name": self.name,
            "made_at": format_time(self.made_at) if self.made_at else None,
            "clock": self.clock,
            "step": self.step,
            "reason": self.reason,
            "technical": self.is_technical,
        }


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """Whether a policy lets a manifest be served, and why."""

    repository: str
    digest: str
    outcome: Outcome
    reason: str
    policy: str
    policy_digest: str
    evidence_digest: str
    steps: tuple[PolicyStep, ...] = ()
    signatures: tuple[SignatureVerdict, ...] = ()
    holds_until: datetime | None = None
    """When the decision may change though policy and evidence stay: a signature gets too old, or its time comes."""

    @property
    def is_allowed(self) -> bool:
        """Return whether the manifest may be served."""
        return self.outcome == "allowed"

    def to_json(self) -> dict[str, object]:
        """Return it for the API and for `--json`."""
        steps: list[Mapping[str, str]] = [
            {"step": one.number, "title": one.title, "source": one.source, "result": one.result, "detail": one.detail}
            for one in self.steps
        ]
        return {
            "repository": self.repository,
            "digest": self.digest,
            "allowed": self.is_allowed,
            "outcome": self.outcome,
            "reason": self.reason,
            "policy": {"name": self.policy, "digest": self.policy_digest},
            "evidence_digest": self.evidence_digest,
            "holds_until": format_time(self.holds_until) if self.holds_until else None,
            "steps": steps,
            "signatures": [one.to_json() for one in self.signatures],
        }
