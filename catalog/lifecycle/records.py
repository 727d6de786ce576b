"""Rules about the life of content: rows of the catalogue, in memory in every process as soon as distributions are."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from catalog.audit import Event, event_row
from catalog.gates.repository_facts import RepositoryFacts
from catalog.gates.verdicts import Verdicts
from catalog.lake.connection import Lake
from catalog.lake.first_use import ReadAtFirstUse
from catalog.lifecycle.judgement import judge_lifecycles
from catalog.lifecycle.published import read_published
from catalog.lifecycle.rules import LifecycleRule, check_lifecycle
from catalog.units import format_time
from catalog.versions.snapshot import Snapshot
from oci.errors import RuleUnknown

_COLUMNS = "pattern, tag, end_of_life, deprecated, successor, message, warn_seconds, published, refuse, actor, set_at"
_DELETE = "DELETE FROM lifecycle_rules WHERE pattern = ? AND tag = ?"


class Lifecycles(ReadAtFirstUse):
    """All rules, in memory; usable from any thread."""

    active: bool
    _rules: Mapping[tuple[str, str], LifecycleRule]

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._guard = threading.RLock()
        self.changes = 0

    def reload(self) -> None:
        """Read them again; what is written meanwhile waits, since it is newer."""
        with self._guard:
            rows = self._lake.read(f"SELECT {_COLUMNS} FROM lifecycle_rules ORDER BY pattern, tag")
            rules = list(map(_rule, rows))
            self._rules = {(rule.pattern, rule.tag): rule for rule in rules}
            self.active = bool(rules)
            self.changes += 1

    def all(self) -> list[LifecycleRule]:
        """Return every rule by pattern and tag; no I/O."""
        return list(self._rules.values())

    def put(self, rule: LifecycleRule, *, address: str = "") -> LifecycleRule:
        """Write a rule, in place of the one of its pattern and tag; durable on return. Raise InvalidInput."""
        check_lifecycle(rule)
        self.ensure_read()
        detail = {"end_of_life": format_time(rule.end_of_life) if rule.end_of_life else "", "refuse": rule.refuse}
        event = Event(rule.set_at, rule.actor, "set-lifecycle", scope_of(rule), address=address, detail=detail)
        with self._lake.write() as writer:
            writer.execute(_DELETE, [rule.pattern, rule.tag])
            writer.insert("lifecycle_rules", [_row(rule)])
            writer.insert("acts", [event_row(event)])
            writer.describe(rule.actor, f"lifecycle of {scope_of(rule)}", acts=1, gates=True)
        self.reload()
        return rule

    def delete(self, pattern: str, tag: str, *, actor: str, now: datetime, address: str = "") -> None:
        """Delete a rule; raise RuleUnknown."""
        rule = self._rules.get((pattern, tag))
        if rule is None:
            raise RuleUnknown(
                f"no lifecycle of {pattern[:80]}{tag and f':{tag[:80]}'} here; `entrepot lifecycle list` shows all"
            )
        event = Event(now, actor, "unset-lifecycle", scope_of(rule), address=address)
        with self._lake.write() as writer:
            writer.execute(_DELETE, [pattern, tag])
            writer.insert("acts", [event_row(event)])
            writer.describe(actor, f"no lifecycle of {scope_of(rule)}", acts=1, gates=True)
        self.reload()

    def covers(self, path: str, repository: str) -> bool:
        """Return whether a rule is about what a path serves; no I/O."""
        return any(rule.fits(path, repository) for rule in self._rules.values())

    def judge(self, path: str, snapshot: Snapshot, facts: RepositoryFacts, now: datetime) -> Verdicts:
        """Return the warnings and refusals of what a path serves; one query where a rule heeds what vendors publish."""
        rules = [rule for rule in self._rules.values() if rule.fits(path, facts.repository)]
        published = read_published(self._lake, snapshot, facts) if any(rule.published for rule in rules) else {}
        return judge_lifecycles(path, snapshot, facts, rules, published, now)


def scope_of(rule: LifecycleRule) -> str:
    """Return what a rule is about, as `parse_lifecycle_scope` reads it."""
    return f"{rule.pattern}:{rule.tag}" if rule.tag else rule.pattern


def _row(rule: LifecycleRule) -> tuple[object, ...]:
    return (
        rule.pattern,
        rule.tag,
        rule.end_of_life,
        rule.deprecated,
        rule.successor,
        rule.message,
        rule.warn_before.total_seconds(),
        rule.published,
        rule.refuse,
        rule.actor,
        rule.set_at,
    )


def _rule(row: tuple[object, ...]) -> LifecycleRule:
    pattern, tag, end, deprecated, successor, message, warn, published, refuse, actor, set_at = cast(
        "tuple[Any, ...]", row
    )
    return LifecycleRule(
        pattern,
        tag,
        actor,
        set_at.astimezone(UTC),
        None if end is None else end.astimezone(UTC),
        bool(deprecated),
        successor,
        message,
        timedelta(seconds=warn),
        bool(published),
        bool(refuse),
    )
