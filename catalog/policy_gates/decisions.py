"""What the gates of a path say of a manifest or blob: each asks its policy; what any of them refuses is refused.

1. Statements, such as signatures, pass (`statements`). 2. Each gate asks by those names that its pattern fits: the path, the
repository, or both; where a rule of the policy is about one of them, by that alone. 3. Content that may be pulled under a tag
may be pulled by its digest too, as clients do that have resolved the tag. 4. A blob passes with any manifest that names it;
with a statement only where no manifest that is refused names it too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from catalog.policy.document import PolicyRule, TrustPolicy
from catalog.policy.evidence import EvidenceSource
from catalog.policy.explanation import PolicyDecision
from catalog.policy.gate_rules import GatedName, GateMode, PolicyGateRule
from catalog.policy.store import Policies
from catalog.policy.trust_roots import TrustCache
from catalog.policy_gates.statements import is_statement_manifest
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import EntrepotError

REFUSED_FOR, UNDECIDED_FOR = timedelta(seconds=60), timedelta(seconds=5)
"""How long a refusal, and one for a technical reason, holds where policy and evidence stay: a time bound may be reached."""

_MOST_TAGS = 16
"""Tags of one digest by whose names it is tried, where a signature vouches for a name."""


@dataclass(frozen=True, slots=True)
class GateFinding:
    """A gate does not let a manifest pass, and why."""

    rule: PolicyGateRule
    outcome: str
    reason: str

    @property
    def mode(self) -> GateMode:
        """Return what the gate does about it."""
        return self.rule.mode

    @property
    def policy(self) -> str:
        """Return the name of the policy."""
        return self.rule.policy

    @property
    def is_final(self) -> bool:
        """Return whether signatures that come later make no difference."""
        return self.outcome == "denied"

    @property
    def text(self) -> str:
        """Return it as what follows a digest in a sentence."""
        return f"is refused by the policy {self.policy}: {self.reason}"


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What all gates of a path say of a manifest, the same until `until`; None: for as long as rules and version are the same."""

    findings: tuple[GateFinding, ...] = ()
    until: datetime | None = None
    is_statement: bool = False
    """It passes since it holds statements about other content; that says nothing about what else names its blobs."""

    def of(self, mode: GateMode) -> GateFinding | None:
        """Return the first finding of a mode."""
        return next((one for one in self.findings if one.mode == mode), None)


PASSED = GateAnswer()
STATEMENT = GateAnswer(is_statement=True)


class PolicyGates:
    """Asks policies; `children` gives the parts of every manifest of a repository. Usable from any thread.

    `trust` is asked about certificates in place of the installation's trust configuration.
    """

    def __init__(
        self,
        policies: Policies,
        children: Callable[[str], "dict[Digest, tuple[Digest, ...]]"],
        *,
        trust: TrustCache | None = None,
    ) -> None:
        self.policies, self._children, self._trust = policies, children, trust

    def judge(
        self,
        gates: Iterable[GatedName],
        source: EvidenceSource,
        snapshot: Snapshot,
        digest: Digest,
        now: datetime,
        *,
        tag: str = "",
    ) -> GateAnswer:
        """Return what gates say of a manifest, pulled by a tag or by its digest; nothing is raised for what cannot be decided."""
        if is_statement_manifest(source, digest):
            return STATEMENT
        findings: list[GateFinding] = []
        ends: list[datetime] = []
        for gate in gates:
            found, end = self._ask(gate, source, snapshot, digest, now, tag)
            ends += [] if end is None else [end]
            findings += [] if found is None else [found]
        return GateAnswer(tuple(findings), min(ends, default=None))

    def judge_tags(
        self,
        gates: Sequence[GatedName],
        source: EvidenceSource,
        snapshot: Snapshot,
        digest: Digest,
        now: datetime,
        *,
        tags: Sequence[str],
    ) -> GateAnswer:
        """Return what gates say of a manifest that several tags are set to at once: what they refuse for one is refused."""
        asked = tags or ("",)
        asked = asked if any(map(self._asks_for_tags, gates)) else asked[:1]
        answers = [self.judge(gates, source, snapshot, digest, now, tag=tag) for tag in asked]
        findings = {finding.rule.key: finding for one in reversed(answers) for finding in one.findings}
        ends = [one.until for one in answers if one.until is not None]
        return GateAnswer(tuple(findings.values()), min(ends, default=None))

    def _asks_for_tags(self, gate: GatedName) -> bool:
        policy = self.policies.get(gate.rule.policy).policy
        return any(found is not None and _is_by_tag(found[1]) for found in map(policy.rule_of, gate.names))

    def _ask(
        self, gate: GatedName, source: EvidenceSource, snapshot: Snapshot, digest: Digest, now: datetime, tag: str
    ) -> tuple[GateFinding | None, datetime | None]:
        rule = gate.rule
        try:
            policy = self.policies.get(rule.policy).policy
            end: datetime | None = None
            for name in names_to_ask(policy, gate.names):
                decision = self.decide(rule.policy, policy, name, source, snapshot, digest, now, tag)
                if not decision.is_allowed:
                    last = UNDECIDED_FOR if decision.outcome == "undecidable" else REFUSED_FOR
                    found = GateFinding(rule, decision.outcome, decision.reason)
                    return found, now + last
                end = min((one for one in (end, decision.holds_until) if one is not None), default=None)
        except EntrepotError as error:
            return GateFinding(rule, "undecidable", error.message), now + UNDECIDED_FOR
        return None, end

    def decide(
        self,
        name: str,
        policy: TrustPolicy,
        repository: str,
        source: EvidenceSource,
        snapshot: Snapshot,
        digest: Digest,
        now: datetime,
        tag: str,
    ) -> PolicyDecision:
        """Return what one policy decides; without a tag, those that point to the manifest count too. Raise EntrepotError."""
        decision = self._decide_one(name, repository, source, digest, now, tag)
        found = policy.rule_of(repository)
        if decision.is_allowed or tag or found is None or not _is_by_tag(found[1]):
            return decision
        tags = [one for one in snapshot.sorted_tags if snapshot.tags[one] == digest]
        for one in tags[:_MOST_TAGS]:
            by_tag = self._decide_one(name, repository, source, digest, now, one)
            if by_tag.is_allowed:
                return by_tag
        return decision

    def _decide_one(
        self, name: str, repository: str, source: EvidenceSource, digest: Digest, now: datetime, tag: str
    ) -> PolicyDecision:
        decision = self.policies.decide_about(repository, digest, source, now, name=name, tag=tag, trust=self._trust)
        assert decision is not None  # one policy was asked by name
        return decision

    def parents(self, snapshot: Snapshot) -> "dict[Digest, Sequence[Digest]]":
        """Return the manifests of a version by the blobs that they name, none for what only other versions name; one query."""
        found: dict[Digest, list[Digest]] = {}
        elsewhere: dict[Digest, Sequence[Digest]] = {}
        for parent, parts in self._children(snapshot.repository).items():
            for part in parts:
                if part in snapshot.manifests:
                    continue
                if parent in snapshot.manifests:
                    found.setdefault(part, []).append(parent)
                else:
                    elsewhere[part] = ()
        return elsewhere | found


def names_to_ask(policy: TrustPolicy, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that rules of a policy are about; where none is, the first, for which the default decides."""
    return tuple(name for name in names if policy.rule_of(name) is not None) or names[:1]


def _is_by_tag(rule: PolicyRule) -> bool:
    """Return whether it matters by which tag content is pulled."""
    return any(not isinstance(one.name, str) or one.name not in ("any", "repository") for one in rule.signatures)
