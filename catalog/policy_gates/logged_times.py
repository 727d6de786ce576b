"""When a trusted log or timestamp authority has seen a manifest, by the signatures that policies in use count.

1. Policies count that a gate asks about the path, other than in a dry run. 2. A time counts where the policy lets the manifest
pass, by signatures whose certificates verify: so a signature by others, however old, makes nothing older. 3. Where a rule wants
several signers, it is the time of the last of them that it needs.

Pulls wait for none of this: `known` gives what memory has, and a thread finds out the rest; then `changes` is another number.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from catalog.policy.document import AttestationRequirement, PolicyRule, SignatureRequirement, TrustPolicy
from catalog.policy.explanation import SignatureVerdict
from catalog.policy.gate_rules import GatedName, gates_of
from catalog.policy.requirements import needed_signers
from catalog.policy.store import Basis, Policies
from catalog.policy_gates.decisions import PolicyGates, names_to_ask
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.kinds import attestation_tag, signature_tag

_KEPT = 50_000
"""Manifests whose times are in memory."""
_MOST = 1_000
"""Manifests of one path that one look finds out about."""
_PATIENCE = 10.0
"""Seconds that closing waits."""
_ABSENT_FOR, _UNDECIDED_FOR = timedelta(hours=1), timedelta(minutes=5)
"""How long it is believed that there is no time, where neither signatures nor policies change; and that it cannot be told."""


class _Asked(NamedTuple):
    """What an answer depends on."""

    path: str
    repository: str
    digest: Digest
    beside: tuple[Digest, ...]
    tags: tuple[str, ...]


class _Answer(NamedTuple):
    basis: Basis
    time: datetime | None
    ends: datetime | None


class LoggedTimes:
    """Tells of times for one process; usable from any thread. Close it."""

    def __init__(
        self, policies: Callable[[], Policies], children: Callable[[str], dict[Digest, tuple[Digest, ...]]]
    ) -> None:
        self._policies, self._children = policies, children
        self._answers: OrderedDict[_Asked, _Answer] = OrderedDict()
        self._guard = threading.Lock()
        self._looking: threading.Thread | None = None
        self._is_closed = False
        self._changes = 0
        self._seen: Basis | None = None

    @property
    def changes(self) -> int:
        """Return another number as soon as a policy, gate, trust configuration or time is another one; no I/O that waits."""
        basis = self._policies().basis
        if basis is not self._seen:
            self._seen = basis
            self._changes += 1
        return self._changes

    def known(
        self, path: str, snapshot: Snapshot, digests: Collection[Digest], now: datetime
    ) -> Mapping[Digest, datetime]:
        """Return the times that memory has; the rest is found out on a thread. No I/O that waits."""
        asked = self._asked(path, snapshot, digests)
        missing = [one for one in asked if self._remembered(one, now) is None]
        if missing:
            self._look_later(snapshot, missing[:_MOST], now)
        return self._times(asked, now)

    def find(
        self, path: str, snapshot: Snapshot, digests: Collection[Digest], now: datetime
    ) -> Mapping[Digest, datetime]:
        """Return the times, and read what is needed for them."""
        asked = self._asked(path, snapshot, digests)
        self._look(snapshot, [one for one in asked if self._remembered(one, now) is None][:_MOST], now)
        return self._times(asked, now)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until a look that is under way has ended, for so many seconds at most."""
        with self._guard:
            looking = self._looking
        if looking is not None:
            looking.join(seconds)

    def close(self) -> None:
        """End a look that is under way, after the manifest that it is at; wait for that for a moment."""
        self._is_closed = True
        self.wait(_PATIENCE)

    def _asked(self, path: str, snapshot: Snapshot, digests: Collection[Digest]) -> list[_Asked]:
        """Return the manifests that have something beside them, those with tags first; none where no gate could tell."""
        if not digests or not any(map(self._names_identity, self._gates(path, snapshot.repository))):
            return []
        tags: dict[Digest, list[str]] = {}
        for tag, digest in snapshot.tags.items():
            tags.setdefault(digest, []).append(tag)
        found = [
            _Asked(path, snapshot.repository, digest, beside, tuple(sorted(tags.get(digest, ()))[:16]))
            for digest in digests
            if digest in snapshot.manifests and (beside := _beside(snapshot, digest))
        ]
        return sorted(found, key=lambda one: not one.tags)

    def _gates(self, path: str, repository: str) -> list[GatedName]:
        gates = gates_of(self._policies().records.gates, path, repository)
        return [one for one in gates if one.rule.mode != "dry-run"]

    def _names_identity(self, gate: GatedName) -> bool:
        try:
            policy = self._policies().get(gate.rule.policy).policy
        except EntrepotError:
            return False
        return any(signer.has_certificate for signer in policy.signers.values())

    def _remembered(self, asked: _Asked, now: datetime) -> _Answer | None:
        basis = self._policies().basis
        with self._guard:
            found = self._answers.get(asked)
        if found is None or found.basis is not basis or (found.ends is not None and found.ends <= now):
            return None
        return found

    def _times(self, asked: Iterable[_Asked], now: datetime) -> dict[Digest, datetime]:
        found = ((one.digest, self._remembered(one, now)) for one in asked)
        return {digest: answer.time for digest, answer in found if answer is not None and answer.time is not None}

    def _look_later(self, snapshot: Snapshot, asked: Sequence[_Asked], now: datetime) -> None:
        with self._guard:
            if self._is_closed or (self._looking is not None and self._looking.is_alive()):
                return  # who asks again when that look has ended starts the next
            self._looking = threading.Thread(target=self._look, args=(snapshot, asked, now), daemon=True)
            self._looking.start()

    def _look(self, snapshot: Snapshot, asked: Sequence[_Asked], now: datetime) -> None:
        if not asked:
            return
        source = self._policies().source(snapshot)
        gates = PolicyGates(self._policies(), self._children)
        for one in asked:
            if self._is_closed:
                return
            basis = self._policies().basis
            try:
                time, ends = self._judge(gates, source, snapshot, one, now)
            except EntrepotError:
                time, ends = None, now + _UNDECIDED_FOR
            with self._guard:
                self._answers[one] = _Answer(basis, time, ends)
                self._answers.move_to_end(one)
                if len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
        self._changes += 1

    def _judge(
        self, gates: PolicyGates, source: object, snapshot: Snapshot, asked: _Asked, now: datetime
    ) -> tuple[datetime | None, datetime | None]:
        """Return the time of a manifest, the earliest by any policy, and until when that holds."""
        times: list[tuple[datetime, datetime | None]] = []
        absent_until = now + _ABSENT_FOR
        for gate in self._gates(asked.path, asked.repository):
            policy: TrustPolicy = self._policies().get(gate.rule.policy).policy
            for name in names_to_ask(policy, gate.names):
                found = policy.rule_of(name)
                decision = gates.decide(gate.rule.policy, policy, name, source, snapshot, asked.digest, now, "")  # type: ignore[arg-type]
                if decision.outcome == "undecidable":
                    absent_until = now + _UNDECIDED_FOR
                if found is not None and decision.is_allowed:
                    since = logged_since(found[1], decision.signatures)
                    times += [] if since is None else [(since, decision.holds_until)]
        return min(times, key=lambda one: one[0]) if times else (None, absent_until)


def logged_since(rule: PolicyRule, verdicts: Iterable[SignatureVerdict]) -> datetime | None:
    """Return when logs had seen all signatures that a rule needs; None where one of them has no such time. Pure."""
    counted = sorted(
        ((one.made_at, one) for one in verdicts if one.accepted and one.clock == "log" and one.made_at is not None),
        key=lambda pair: pair[0],
    )
    times: list[datetime] = []
    requirements: list[SignatureRequirement | AttestationRequirement] = [*rule.signatures, *rule.attestations]
    for requirement in requirements:
        names: set[str] = set()
        makers: set[str] = set()
        for when, verdict in counted:
            mine = set(verdict.signers) & set(requirement.signers)
            if mine and _is_about(requirement, verdict):
                names |= mine
                makers |= set(verdict.by)
                if min(len(names), len(makers)) >= needed_signers(requirement):
                    times.append(when)
                    break
        else:
            return None
    return max(times, default=None)


def _is_about(requirement: SignatureRequirement | AttestationRequirement, verdict: SignatureVerdict) -> bool:
    if isinstance(requirement, SignatureRequirement):
        return verdict.says == "signature"
    return verdict.says == "attestation" and requirement.fits_type(verdict.predicate_type)


def _beside(snapshot: Snapshot, digest: Digest) -> tuple[Digest, ...]:
    tagged = (snapshot.tags.get(tag) for tag in (signature_tag(digest), attestation_tag(digest)))
    return (*(one for one in tagged if one is not None), *snapshot.referrers.get(digest, ()))
