"""Rules and decisions of holds: rows of the catalogue, in memory in every process as soon as distributions are."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

from catalog.audit import Event, event_row
from catalog.gates.facts_reader import RepositoryFactsReader
from catalog.gates.repository_facts import RepositoryFacts
from catalog.gates.verdicts import Verdicts
from catalog.holds.judgement import KnownTimes, judge_holds
from catalog.holds.rules import HoldDecision, HoldRule, check_decision, check_rule, fits, strictest
from catalog.lake.connection import Lake
from catalog.lake.first_use import ReadAtFirstUse
from catalog.units import format_duration, format_time
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import RuleUnknown

_RULES = "SELECT pattern, seconds, trust_created, actor, set_at FROM hold_rules ORDER BY pattern"
_DECISIONS = (
    "SELECT digest, action, pattern, reason, actor, decided_at, owner, expires_at FROM hold_decisions "
    "ORDER BY decided_at, digest, action, pattern"
)
_DecisionKey = tuple[Digest, str, str]


class VerifiedTimes(Protocol):
    """Tells when logs have seen manifests, by signatures that were verified and are trusted."""

    @property
    def changes(self) -> int:
        """Return another number as soon as what is known is another; no I/O that waits."""

    def known(
        self, path: str, snapshot: Snapshot, digests: Sequence[Digest], now: datetime
    ) -> Mapping[Digest, datetime]:
        """Return the times that memory has."""

    def find(
        self, path: str, snapshot: Snapshot, digests: Sequence[Digest], now: datetime
    ) -> Mapping[Digest, datetime]:
        """Return the times; may read for long."""


class Holds(ReadAtFirstUse):
    """All rules and decisions, in memory; usable from any thread."""

    active: bool
    _rules: Mapping[str, HoldRule]
    _decisions: Mapping[_DecisionKey, HoldDecision]

    def __init__(
        self,
        lake: Lake,
        facts: RepositoryFactsReader,
        times: Callable[[], VerifiedTimes],
        is_statement: Callable[[Digest], bool],
    ) -> None:
        """`is_statement`: whether a manifest's layers are statements by their bytes."""
        self._lake, self._facts, self._times, self._is_statement = lake, facts, times, is_statement
        self._guard = threading.RLock()
        self._changes = 0

    def reload(self) -> None:
        """Read them again; what is written meanwhile waits, since it is newer."""
        with self._guard:
            rules = [_rule(row) for row in self._lake.read(_RULES)]
            decisions = [_decision(row) for row in self._lake.read(_DECISIONS)]
            self._rules = {rule.pattern: rule for rule in rules}
            self._decisions = {_key(decision): decision for decision in decisions}
            self.active = bool(rules) or any(decision.action == "block" for decision in decisions)
            self._changes += 1

    @property
    def changes(self) -> int:
        """Return another number as soon as a rule, a decision or a verified time is another one; no I/O that waits."""
        return self._changes + (self._times().changes if self._rules else 0)

    def rules(self) -> list[HoldRule]:
        """Return every rule by pattern; no I/O."""
        return list(self._rules.values())

    def decisions(self) -> list[HoldDecision]:
        """Return every decision, the oldest first, those that have expired too; no I/O."""
        return list(self._decisions.values())

    def put_rule(self, rule: HoldRule, *, address: str = "") -> HoldRule:
        """Write a rule, in place of the one of its pattern; durable on return. Raise InvalidInput."""
        check_rule(rule)
        self.ensure_read()
        row = (rule.pattern, rule.duration.total_seconds(), rule.trust_created, rule.actor, rule.set_at)
        detail = {"duration": format_duration(rule.duration), "trust_created": rule.trust_created}
        event = Event(rule.set_at, rule.actor, "set-hold", rule.pattern, address=address, detail=detail)
        with self._lake.write() as writer:
            writer.delete("hold_rules", "pattern", rule.pattern)
            writer.insert("hold_rules", [row])
            writer.insert("acts", [event_row(event)])
            writer.describe(rule.actor, f"hold of {rule.pattern}", acts=1, gates=True)
        self.reload()
        return rule

    def delete_rule(self, pattern: str, *, actor: str, now: datetime, address: str = "") -> None:
        """Delete a rule; raise RuleUnknown."""
        if pattern not in self._rules:
            raise RuleUnknown(f"no hold of {pattern[:80]!r} here; `entrepot hold list` shows all")
        with self._lake.write() as writer:
            writer.delete("hold_rules", "pattern", pattern)
            writer.insert("acts", [event_row(Event(now, actor, "unset-hold", pattern, address=address))])
            writer.describe(actor, f"no hold of {pattern}", acts=1, gates=True)
        self.reload()

    def decide(self, decision: HoldDecision, *, address: str = "") -> HoldDecision:
        """Write a decision, in place of the one of its digest, action and pattern; durable on return. Raise InvalidInput."""
        return self.decide_all([decision], address=address)[0]

    def decide_all(self, decisions: Iterable[HoldDecision], *, address: str = "") -> list[HoldDecision]:
        """Write decisions together, each in place of the one of its digest, action and pattern. Raise InvalidInput."""
        made = [replace(check_decision(one), reason=one.reason.strip()) for one in decisions]
        if not made:
            return []
        self.ensure_read()
        with self._lake.write() as writer:
            for one in made:
                writer.execute(_DELETE, [one.digest, one.action, one.pattern])
            writer.insert("hold_decisions", [_decision_row(one) for one in made])
            writer.insert("acts", [event_row(_event(one, f"{one.action}-digest", address)) for one in made])
            more = f", and {len(made) - 1} more" if len(made) > 1 else ""
            told = f"{made[0].action} {made[0].digest} below {made[0].pattern}{more}"
            writer.describe(made[0].actor, told, acts=len(made), gates=True)
        self.reload()
        return made

    def withdraw(
        self, digest: Digest, pattern: str, *, actor: str, now: datetime, address: str = ""
    ) -> list[HoldDecision]:
        """Delete the decisions on a digest below exactly that pattern; return them. Raise RuleUnknown where there is none."""
        found = [one for one in self.decisions() if (one.digest, one.pattern) == (digest, pattern)]
        if not found:
            raise RuleUnknown(f"no decision on {digest} below {pattern[:80]}; `entrepot hold list` shows all")
        with self._lake.write() as writer:
            for one in found:
                writer.execute(_DELETE, [one.digest, one.action, one.pattern])
                ended = replace(one, actor=actor, decided_at=now)
                writer.insert("acts", [event_row(_event(ended, f"withdraw-{one.action}", address))])
            writer.describe(actor, f"withdraw decisions on {digest}", acts=len(found), gates=True)
        self.reload()
        return found

    def covers(self, path: str, repository: str) -> bool:
        """Return whether a rule or a block is about what a path serves; no I/O."""
        return any(fits(pattern, path, repository) for pattern in self._rules) or any(
            one.action == "block" and fits(one.pattern, path, repository) for one in self._decisions.values()
        )

    def judge(self, path: str, snapshot: Snapshot, facts: RepositoryFacts, now: datetime) -> Verdicts:
        """Return which manifests a path does not serve now; at most one query, for what is held by the repository's own facts.

        Times of logs count once they are known; they are found out meanwhile.
        """
        return self._judge(path, snapshot, facts, now, self._times().known)

    def judge_fully(self, path: str, snapshot: Snapshot, facts: RepositoryFacts, now: datetime) -> Verdicts:
        """Return the same once all times of logs are known; may read for long."""
        return self._judge(path, snapshot, facts, now, self._times().find)

    def _judge(
        self,
        path: str,
        snapshot: Snapshot,
        facts: RepositoryFacts,
        now: datetime,
        logged_of: Callable[[str, Snapshot, Sequence[Digest], datetime], Mapping[Digest, datetime]],
    ) -> Verdicts:
        rule = strictest(self._rules.values(), path, facts.repository)
        decisions = [one for one in self._decisions.values() if fits(one.pattern, path, facts.repository)]
        times = KnownTimes(is_statement=self._is_statement)
        found = judge_holds(facts, rule, decisions, now, times)
        held = [digest for digest in found.refused if digest in facts.manifests]
        if rule is None or not held:
            return found
        logged = logged_of(path, snapshot, held, now)
        elsewhere = self._facts.seen_elsewhere(facts.repository, held)
        if not logged and not elsewhere:
            return found
        return judge_holds(facts, rule, decisions, now, replace(times, logged=logged, elsewhere=elsewhere))


_DELETE = "DELETE FROM hold_decisions WHERE digest = ? AND action = ? AND pattern = ?"


def _key(decision: HoldDecision) -> _DecisionKey:
    return decision.digest, decision.action, decision.pattern


def _event(decision: HoldDecision, action: str, address: str) -> Event:
    detail = {
        "path": decision.pattern,
        "reason": decision.reason,
        "owner": decision.owner,
        "expires_at": format_time(decision.expires_at) if decision.expires_at else "",
    }
    return Event(decision.decided_at, decision.actor, action, str(decision.digest), address=address, detail=detail)


def _rule(row: tuple[object, ...]) -> HoldRule:
    pattern, seconds, trust_created, actor, set_at = cast("tuple[Any, ...]", row)
    return HoldRule(pattern, timedelta(seconds=seconds), actor, set_at.astimezone(UTC), bool(trust_created))


def _decision_row(one: HoldDecision) -> tuple[object, ...]:
    return one.digest, one.action, one.pattern, one.reason, one.actor, one.decided_at, one.owner, one.expires_at


def _decision(row: tuple[object, ...]) -> HoldDecision:
    digest, action, pattern, reason, actor, decided_at, owner, expires_at = cast("tuple[Any, ...]", row)
    expiry = None if expires_at is None else expires_at.astimezone(UTC)
    return HoldDecision(
        Digest(digest), action, pattern, reason, actor, decided_at.astimezone(UTC), owner=owner, expires_at=expiry
    )
