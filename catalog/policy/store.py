"""The policies of an installation: kept by name where every process sees them, and asked about manifests."""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from catalog.audit import Event
from catalog.policy.gate_rules import MOST_GATES, PolicyGateRule
from catalog.settings import Settings
from catalog.state.documents import StateDocument, open_document
from catalog.state.shared_state import SharedState
from catalog.units import format_time
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import InvalidInput, PolicyUnknown, RuleUnknown

if TYPE_CHECKING:  # what checks signatures is loaded with the first decision
    from catalog.policy.document import TrustPolicy
    from catalog.policy.evidence import EvidenceSource
    from catalog.policy.explanation import PolicyDecision
    from catalog.policy.trust_roots import TrustCache

POLICIES = "trust-policies"
"""The name of the document that keeps them."""

MOST_POLICIES = 100
_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
PolicyName = Annotated[str, Field(pattern=f"^{_NAME}$", examples=["release"])]
_REMEMBERED = 10_000
_COUNTED = 16
"""Manifests whose signatures counted that are remembered of one digest, to be read first."""
_REFUSED_FOR = timedelta(seconds=60)


class StoredPolicy(BaseModel):
    """A policy as its document, and who has set it when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    document: dict[str, Any]
    set_by: str
    set_at: AwareDatetime

    @cached_property
    def policy(self) -> "TrustPolicy":
        """Return the policy, checked again; raise InvalidInput for one that a newer release has written."""
        from catalog.policy.document import make_policy

        return make_policy(self.document, where="the stored policy")


class PolicyRecords(BaseModel):
    """All policies by name, and the gates that ask them: one document, so that nobody sees the one without the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policies: dict[PolicyName, StoredPolicy] = Field(default_factory=dict)
    gates: tuple[PolicyGateRule, ...] = Field(default=(), max_length=MOST_GATES)


def check_policy_name(name: str) -> None:
    """Raise InvalidInput for a name that no policy may have."""
    if not re.fullmatch(_NAME, name):
        raise InvalidInput(f"invalid name {name[:80]!r}: expected up to 64 of a-z, 0-9, '.', '_' and '-'")


def policies_file(settings: Settings) -> Path:
    """Return the file of the policies, where state is in files."""
    return settings.root / f"{POLICIES}.json"


def open_policies(settings: Settings, state: SharedState | None) -> StateDocument[PolicyRecords]:
    """Return the document of the policies."""
    return open_document(settings, state, POLICIES, policies_file(settings), PolicyRecords())


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """What decisions are by besides the evidence: policies and gates, and the generation of the trust configuration."""

    records: PolicyRecords
    generation: int


class Policies:
    """Keeps policies and decides by them; usable from any thread. That one or a gate was set is an audit event."""

    def __init__(
        self,
        document: StateDocument[PolicyRecords],
        source_of: "Callable[[Snapshot], EvidenceSource]",
        trust: "TrustCache",
        record: Callable[[Sequence[Event]], None],
    ) -> None:
        self._document, self._source_of, self.trust, self._record = document, source_of, trust, record
        self._known: OrderedDict[tuple[str, ...], tuple[datetime | None, PolicyDecision]] = OrderedDict()
        self._counted: dict[str, frozenset[str]] = {}
        self._guard = threading.Lock()
        self._basis: Basis | None = None

    @property
    def basis(self) -> Basis:
        """Return what decisions are by: the same object until that changes; looks at a file now and then.

        Raises CatalogUnusable.
        """
        records, generation = self.records, self.trust.generation
        found = self._basis
        if found is None or found.records is not records or found.generation != generation:
            found = self._basis = Basis(records, generation)
        return found

    @property
    def records(self) -> PolicyRecords:
        """Return policies and gates: the same object until one changes; no I/O that waits. Raises CatalogUnusable."""
        return self._document.value

    def set_gate(self, gate: PolicyGateRule, *, address: str = "") -> None:
        """Keep a gate, in place of the one of its pattern and policy; durable on return. Raise PolicyUnknown, InvalidInput."""

        def change(records: PolicyRecords) -> PolicyRecords:
            if gate.policy not in records.policies:
                raise _unknown(gate.policy)
            others = tuple(one for one in records.gates if one.key != gate.key)
            if len(others) >= MOST_GATES:
                raise InvalidInput(f"there are {MOST_GATES} gates, the most allowed: `entrepot policy ungate` one")
            return records.model_copy(update={"gates": tuple(sorted((*others, gate), key=lambda one: one.key))})

        self._document.update(change)
        event = Event(gate.set_at, gate.set_by, "set-policy-gate", gate.pattern, address=address, detail=gate.facts)
        self._record([event])

    def unset_gate(self, pattern: str, name: str) -> None:
        """Remove a gate; raise RuleUnknown."""

        def change(records: PolicyRecords) -> PolicyRecords:
            others = tuple(one for one in records.gates if one.key != (pattern, name))
            if len(others) == len(records.gates):
                raise RuleUnknown(
                    f"no gate of {pattern[:80]!r} by the policy {name[:80]!r}; `entrepot policy gates` lists them"
                )
            return records.model_copy(update={"gates": others})

        self._document.update(change)

    def all(self) -> Mapping[str, StoredPolicy]:
        """Return every policy by name; no I/O that waits. Raises CatalogUnusable."""
        return dict(sorted(self._document.value.policies.items()))

    def get(self, name: str) -> StoredPolicy:
        """Return a policy; raise PolicyUnknown."""
        found = self._document.value.policies.get(name)
        if found is None:
            raise _unknown(name)
        return found

    def set(self, name: str, policy: "TrustPolicy", *, actor: str, now: datetime, address: str = "") -> StoredPolicy:
        """Keep a policy, in place of the one of its name; durable on return. Raise InvalidInput."""
        made = StoredPolicy(document=policy.model_dump(mode="json"), set_by=actor, set_at=now)

        def change(records: PolicyRecords) -> PolicyRecords:
            if name not in records.policies and len(records.policies) >= MOST_POLICIES:
                raise InvalidInput(
                    f"there are {MOST_POLICIES} policies, the most allowed: `entrepot policy remove` one"
                )
            return records.model_copy(update={"policies": {**records.policies, name: made}})

        self._document.update(change)
        self._record([Event(now, actor, "set-policy", name, address=address, detail={"digest": policy.digest})])
        return made

    def remove(self, name: str) -> None:
        """Remove a policy; raise PolicyUnknown."""

        def change(records: PolicyRecords) -> PolicyRecords:
            if name not in records.policies:
                raise _unknown(name)
            if asked := next((one for one in records.gates if one.policy == name), None):
                raise InvalidInput(f"the policy {name} is used by the gate of {asked.pattern}: delete that gate first")
            policies = {key: one for key, one in records.policies.items() if key != name}
            return records.model_copy(update={"policies": policies})

        self._document.update(change)

    def source(self, snapshot: Snapshot) -> "EvidenceSource":
        """Return what evidence of a version is read from; keep it for many decisions about one version."""
        return self._source_of(snapshot)

    def decide(
        self, repository: str, digest: Digest, snapshot: Snapshot, now: datetime, *, name: str = "", tag: str = ""
    ) -> "PolicyDecision | None":
        """Decide about a manifest of a version, as `decide_about` does."""
        return self.decide_about(repository, digest, self.source(snapshot), now, name=name, tag=tag)

    def decide_about(
        self,
        repository: str,
        digest: Digest,
        source: "EvidenceSource",
        now: datetime,
        *,
        name: str = "",
        tag: str = "",
        trust: "TrustCache | None" = None,
    ) -> "PolicyDecision | None":
        """Decide about a manifest of any source, also of content that is still to be committed.

        By one policy, or by all of which a rule fits the repository: the first that refuses is returned, else the last that
        allows; None where there is no policy to ask. `trust` is as `evaluate` has it. Raise PolicyUnknown.
        """
        asked = self._asked(repository, name)
        found = self.evaluate(asked, repository, digest, source, now, tag=tag, trust=trust) if asked else []
        return next((one for one in found if not one.is_allowed), found[-1] if found else None)

    def explain(
        self, repository: str, digest: Digest, source: "EvidenceSource", now: datetime, *, name: str = "", tag: str = ""
    ) -> "list[PolicyDecision]":
        """Return the decisions of all policies that are asked, by name; raise PolicyUnknown."""
        asked = self._asked(repository, name)
        return self.evaluate(asked, repository, digest, source, now, tag=tag) if asked else []

    def evaluate(
        self,
        policies: "Mapping[str, TrustPolicy]",
        repository: str,
        digest: Digest,
        source: "EvidenceSource",
        now: datetime,
        *,
        tag: str = "",
        trust: "TrustCache | None" = None,
    ) -> "list[PolicyDecision]":
        """Return the decisions of policies, kept here or not; `trust` in place of the installation's is asked each time."""
        from catalog.policy.evaluation import evaluate_policy
        from catalog.policy.evidence import read_evidence
        from catalog.policy.signers import may_be_by

        wants_index = any(rule.index == "covers-children" for policy in policies.values() for rule in policy.rules)
        signers = [signer for policy in policies.values() for signer in policy.signers.values()]
        evidence = read_evidence(
            source,
            digest,
            with_parents=wants_index,
            is_likely=lambda item: may_be_by(item.form, item.content, item.annotations, signers),
            known=lambda one: self._counted.get(one, ()),
        )
        found = []
        generation = str(self.trust.generation)
        for key, policy in policies.items():
            known = (repository, digest, policy.digest, evidence.fingerprint, key, tag, generation)
            decision = self._remembered(known, now) if trust is None else None
            if decision is None:
                roots = trust or self.trust
                decision = evaluate_policy(policy, repository, evidence, now, trust=roots, name=key, tag=tag)
                if trust is None:
                    self._remember(known, decision, now)
            found.append(decision)
        return found

    def _asked(self, repository: str, name: str) -> "Mapping[str, TrustPolicy]":
        if name:
            return {name: self.get(name).policy}
        return {key: one.policy for key, one in self.all().items() if one.policy.rule_of(repository) is not None}

    def _remembered(self, key: tuple[str, ...], now: datetime) -> "PolicyDecision | None":
        with self._guard:
            found = self._known.get(key)
        if found is None or (found[0] is not None and now > found[0]):
            return None
        return found[1]

    def _remember(self, key: tuple[str, ...], decision: "PolicyDecision", now: datetime) -> None:
        if decision.outcome == "undecidable":
            return
        ends = decision.holds_until if decision.is_allowed else now + _REFUSED_FOR
        counted = frozenset([one.origin for one in decision.signatures if one.accepted][:_COUNTED])
        with self._guard:
            if counted:
                self._counted[decision.digest] = counted
                if len(self._counted) > _REMEMBERED:
                    del self._counted[next(iter(self._counted))]
            self._known[key] = (ends, decision)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _unknown(name: str) -> PolicyUnknown:
    return PolicyUnknown(f"no policy {name[:80]!r} here; `entrepot policy list` lists them")


def policy_facts(name: str, stored: StoredPolicy) -> dict[str, Any]:
    """Return what is told of a policy besides its document."""
    policy = stored.policy
    return {
        "name": name,
        "digest": policy.digest,
        "description": policy.description,
        "rules": len(policy.rules),
        "signers": sorted(policy.signers),
        "default": policy.default,
        "set_by": stored.set_by,
        "set_at": format_time(stored.set_at),
    }
